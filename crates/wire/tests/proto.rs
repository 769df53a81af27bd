//! `proto/strongroom.proto`, for other languages, says what the Rust messages say.
//!
//! The file is derived from the sources. `STRONGROOM_BLESS=1 cargo test -p strongroom-wire` writes it
//! anew after a change of a message.

use std::fmt::Write as _;
use std::path::Path;

const SOURCES: &[&str] = &[
    "message/mod.rs",
    "message/cluster.rs",
    "message/connection.rs",
    "message/object.rs",
    "message/operation.rs",
    "message/template.rs",
    "message/user.rs",
    "admin.rs",
];

#[test]
fn the_proto_file_equals_the_messages() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::from(
        "// Messages of Strongroom's ports 2223 and 2224, for other languages.\n\
         // Derived from crates/wire by its test `proto`; the sources say what each field means.\n\n\
         syntax = \"proto3\";\n\npackage strongroom;\n",
    );
    for source in SOURCES {
        let rust = std::fs::read_to_string(crate_folder.join("src").join(source)).expect(source);
        // What follows the tests' attribute is not part of the protocol.
        let rust = rust.split("#[cfg(test)]").next().expect("a part").to_owned();
        translate(&rust, &mut text);
    }
    let path = crate_folder.join("../../proto/strongroom.proto");
    if std::env::var_os("STRONGROOM_BLESS").is_some() {
        std::fs::write(&path, &text).expect("a writable file");
    }
    let kept = std::fs::read_to_string(&path).expect("proto/strongroom.proto");
    assert!(kept == text, "proto/strongroom.proto is old: run the test with STRONGROOM_BLESS=1");
}

/// One message or enumeration at a time; a oneof is found by its tags in the message that holds it.
fn translate(rust: &str, text: &mut String) {
    let oneofs = oneofs(rust);
    for item in items(rust) {
        if item.derives.contains("Enumeration") {
            write!(text, "\nenum {} {{\n", item.name).expect("a string");
            for (name, number) in variants(&item.body) {
                writeln!(text, "  {}_{name} = {number};", item.name).expect("a string");
            }
            text.push_str("}\n");
        } else if item.derives.contains("Message") {
            write!(text, "\nmessage {} {{\n", item.name).expect("a string");
            for field in fields(&item.body) {
                if let Some(oneof) = field.attribute("oneof") {
                    writeln!(text, "  oneof {} {{", field.name).expect("a string");
                    for line in &oneofs.iter().find(|(name, _)| *name == oneof).expect("a oneof").1
                    {
                        writeln!(text, "    {line};").expect("a string");
                    }
                    text.push_str("  }\n");
                } else {
                    writeln!(text, "  {};", field.proto()).expect("a string");
                }
            }
            text.push_str("}\n");
        }
    }
}

struct Item {
    derives: String,
    name: String,
    body: String,
}

/// `#[derive(…)] pub struct|enum NAME { … }`, bodies as they stand.
fn items(rust: &str) -> Vec<Item> {
    let mut items = Vec::new();
    let mut rest = rust;
    while let Some(at) = rest.find("#[derive(") {
        rest = &rest[at + "#[derive(".len()..];
        let derives = rest[..rest.find(")]").expect("a derive's end")].to_owned();
        let head = &rest[..rest.find('{').expect("a body")];
        let name = head
            .split_whitespace()
            .skip_while(|word| !matches!(*word, "struct" | "enum"))
            .nth(1)
            .expect("a name")
            .to_owned();
        let body = &rest[head.len() + 1..];
        let end = if body.starts_with('}') { 0 } else { body.find("\n}").expect("a body's end") };
        items.push(Item { derives, name, body: body[..end].to_owned() });
        rest = &body[end..];
    }
    items
}

fn oneofs(rust: &str) -> Vec<(String, Vec<String>)> {
    items(rust)
        .into_iter()
        .filter(|item| item.derives.contains("Oneof"))
        .map(|item| (item.name, fields(&item.body).iter().map(Field::proto).collect()))
        .collect()
}

struct Field {
    attributes: String,
    name: String,
    /// The Rust type: after the colon, or a variant's parentheses.
    kind: String,
}

/// `#[prost(…)] pub name: Type,` or `#[prost(…)] Name(Type),`.
fn fields(body: &str) -> Vec<Field> {
    let mut fields = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.find("#[prost(") {
        rest = &rest[at + "#[prost(".len()..];
        let end = rest.find(")]").expect("an attribute's end");
        let attributes = rest[..end].split_whitespace().collect::<Vec<_>>().join(" ");
        rest = rest[end + 2..].trim_start();
        let line = rest.lines().next().expect("a field").trim_end_matches(',');
        let (name, kind) = match line.strip_prefix("pub ") {
            Some(field) => field.split_once(": ").expect("a type"),
            None => line.trim_end_matches(')').split_once('(').expect("a variant"),
        };
        fields.push(Field { attributes, name: snake(name), kind: kind.to_owned() });
    }
    fields
}

impl Field {
    fn attribute(&self, name: &str) -> Option<String> {
        let after = self.attributes.split_once(&format!("{name} = \""))?.1;
        Some(after[..after.find('"')?].to_owned())
    }

    fn has(&self, word: &str) -> bool {
        self.attributes.split(", ").any(|a| a == word)
    }

    fn proto(&self) -> String {
        let kind = if let Some(name) = self.attribute("enumeration") {
            name.rsplit("::").next().expect("a name").to_owned()
        } else if self.has("message") {
            self.kind
                .trim_start_matches("Option<")
                .trim_start_matches("Vec<")
                .trim_end_matches('>')
                .to_owned()
        } else {
            let first = self.attributes.split(", ").next().expect("a type");
            first.split(" = ").next().expect("a type").to_owned()
        };
        let label = if self.has("repeated") {
            "repeated "
        } else if self.has("optional") && !self.has("message") {
            "optional "
        } else {
            ""
        };
        format!("{label}{kind} {} = {}", self.name, self.attribute("tag").expect("a tag"))
    }
}

fn variants(body: &str) -> Vec<(String, String)> {
    body.lines()
        .filter_map(|line| line.trim().trim_end_matches(',').split_once(" = "))
        .map(|(name, number)| (snake(name).to_uppercase(), number.to_owned()))
        .collect()
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (place, letter) in name.char_indices() {
        if letter.is_uppercase() && place > 0 {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}
