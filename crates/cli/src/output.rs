//! The one JSON object that every command prints.
//!
//! `{"error_code": 0, "data": …}` on success, `{"error_code": 1, "data": "message"}` on failure, on
//! standard output, pretty-printed with two spaces as CloudHSM's CLI does.

use serde_json::{Value, json};

use crate::error::Error;

/// The object's text, without a final newline.
#[must_use]
pub(crate) fn render(result: &Result<Value, Error>) -> String {
    let object = match result {
        Ok(data) => json!({ "error_code": 0, "data": data }),
        Err(error) => json!({ "error_code": 1, "data": error.to_string() }),
    };
    format!("{object:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_and_failure_look_as_cloudhsm_prints_them() {
        assert_eq!(
            render(&Ok(json!("Logout successful"))),
            "{\n  \"error_code\": 0,\n  \"data\": \"Logout successful\"\n}"
        );
        assert_eq!(
            render(&Err(Error::Selection { matched: 48 })),
            "{\n  \"error_code\": 1,\n  \"data\": \"Key selection criteria matched 48 keys. Refine \
             selection criteria to select a single key.\"\n}"
        );
    }
}
