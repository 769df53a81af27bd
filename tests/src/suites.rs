//! Suites and programs that others wrote, as the package registries give them: fetched and built once,
//! kept under `target/suites`.

use std::path::{Path, PathBuf};

use crate::{Program, program, release};

/// Where what the package registries give is kept between runs.
///
/// # Panics
/// Where the folder can't be made.
#[must_use]
pub fn kept(name: &str) -> PathBuf {
    let path = release().parent().expect("target").join("suites").join(name);
    std::fs::create_dir_all(&path).expect("a folder");
    path
}

/// The names in a list of `tests/suites`; what begins with `#` is a reason.
///
/// # Panics
/// Where there is no such list.
#[must_use]
pub fn skipped(list: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites").join(list);
    let text = std::fs::read_to_string(&path).expect("a list of what is left out");
    let names = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    names.map(str::to_owned).collect()
}

/// A Python of its own with these packages of PyPI's, in `folder`; its `bin/python`.
///
/// # Panics
/// Where PyPI does not give them.
#[must_use]
pub fn python_with(folder: &Path, packages: &[&str]) -> PathBuf {
    let python = folder.join("venv/bin/python");
    let ready = folder.join("venv/ready");
    if !ready.exists() {
        program("python3").args(["-m", "venv"]).arg(folder.join("venv")).ok();
        program(python.to_str().expect("a path"))
            .args(["-m", "pip", "-q", "install"])
            .args(packages)
            .ok();
        std::fs::write(&ready, "").expect("a mark");
    }
    python
}

/// python-pkcs11 with its own tests.
#[derive(Debug)]
pub struct PythonSuite {
    folder: PathBuf,
    python: PathBuf,
}

impl PythonSuite {
    /// With its dependencies, from PyPI.
    ///
    /// # Panics
    /// Where PyPI does not give them.
    #[must_use]
    pub fn installed() -> Self {
        let folder = kept("python-pkcs11-0.10.1");
        let sources = "python-pkcs11==0.10.1";
        let tools = ["pytest==9.2.0", "parameterized==0.9.0", "cryptography==50.0.2"];
        let python = python_with(&folder, &[&[sources], tools.as_slice()].concat());
        if !folder.join("tests").exists() {
            program(python.to_str().expect("a path"))
                .args([
                    "-m",
                    "pip",
                    "-q",
                    "download",
                    "--no-deps",
                    "--no-binary",
                    ":all:",
                    sources,
                    "-d",
                ])
                .arg(&folder)
                .ok();
            program("tar")
                .args(["-x", "-f"])
                .arg(folder.join("python_pkcs11-0.10.1.tar.gz"))
                .args(["--strip-components", "1", "-C"])
                .arg(&folder)
                .arg("python_pkcs11-0.10.1/tests")
                .ok();
        }
        Self { folder, python }
    }

    /// Runs all tests but those of the list `skip`, by a program that `start` makes of a name and that
    /// has the variables of the module and its token; how many passed.
    ///
    /// # Panics
    /// Where one fails, or leaves itself out without being on the list.
    pub fn run(&self, start: impl FnOnce(&str) -> Program, skip: &str) -> usize {
        let mut suite = start(self.python.to_str().expect("a path"))
            .env("OPENSSL_PATH", "/usr/bin")
            .dir(&self.folder)
            .args(["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests"]);
        for name in skipped(skip) {
            suite = suite.args(["--deselect", &name]);
        }
        let said = suite.text();
        let counts = said.lines().last().unwrap_or_default();
        assert!(!counts.contains(" skipped"), "{said}");
        let passed = counts.split(" passed").next().and_then(|count| count.parse().ok());
        let passed = passed.unwrap_or_else(|| panic!("{said}"));
        println!("python-pkcs11: {passed} passed");
        passed
    }
}

/// A Go module with its own tests.
#[derive(Debug)]
pub struct GoSuite {
    /// Where the tests run.
    pub sources: PathBuf,
    name: &'static str,
    program: PathBuf,
}

impl GoSuite {
    /// Built from the Go module proxy.
    ///
    /// # Panics
    /// Where the proxy does not give it, or it does not build.
    #[must_use]
    pub fn built(name: &'static str, module: &str, version: &str) -> Self {
        let folder = kept(&format!("{name}-{version}"));
        let sources = folder.join("sources");
        let suite = folder.join(format!("{name}.test"));
        if !suite.exists() {
            let go = || {
                program("go")
                    .env("GOPATH", folder.join("go"))
                    .env("GOCACHE", folder.join("cache"))
                    .env("GOFLAGS", "-mod=mod")
                    .env("GO111MODULE", "on")
            };
            let module = format!("{module}@v{version}");
            let told = go().dir(&folder).args(["mod", "download", "-json", &module]).text();
            let told: serde_json::Value = serde_json::from_str(&told).expect("JSON of go");
            let downloaded = told["Dir"].as_str().expect("a folder").to_owned();
            program("cp").arg("-r").arg(downloaded).arg(&sources).ok();
            program("chmod").args(["-R", "u+w"]).arg(&sources).ok();
            go().dir(&sources).args(["test", "-c", "-o"]).arg(&suite).arg(".").ok();
        }
        Self { sources, name, program: suite }
    }

    /// Runs all tests and examples but those of the list `skip`; how many passed, which are all.
    ///
    /// # Panics
    /// Where one does not pass.
    pub fn run(&self, start: impl Fn(&str) -> Program, skip: &str) -> usize {
        let suite = self.program.to_str().expect("a path");
        let begin = || start(suite).dir(&self.sources);
        let listed = begin().args(["-test.list", "^(Test|Example)"]).text();
        let skipped = skipped(skip);
        let wanted: Vec<&str> =
            listed.lines().filter(|name| !skipped.iter().any(|skip| skip == name)).collect();
        let pattern = format!("^({})$", wanted.join("|"));
        let said = begin().args(["-test.run", &pattern, "-test.v", "-test.timeout", "5m"]).text();
        let passed = said.lines().filter(|line| line.starts_with("--- PASS")).count();
        assert_eq!(passed, wanted.len(), "{said}");
        println!("{}: {passed} passed", self.name);
        passed
    }
}
