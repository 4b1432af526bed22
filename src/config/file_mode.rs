//! Reads the permissions of a file: `"0640"`.

use schemars::{Schema, json_schema};

use super::error::{Complaint, quoted};
use super::scalar::FromScalar;
use super::settings::FileMode;

impl FromScalar for FileMode {
    fn expected() -> String {
        "permissions in quotes, such as `\"0660\"` (owner and group) or `\"0600\"`".to_owned()
    }

    fn from_text(text: &str) -> Result<Self, Complaint> {
        let octal =
            (3..=4).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let mode = u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| octal && *mode <= 0o777);
        mode.map(Self)
            .ok_or_else(|| Complaint::new(Self::expected(), quoted(text)))
    }

    fn from_number(_: u64) -> Result<Self, Complaint> {
        // YAML reads 0660 as the decimal number 660.
        Err(Complaint::new(Self::expected(), "a number without quotes"))
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^0?[0-7]{3}$", "examples": ["0660", "0600"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal() {
        for (text, mode) in [("0660", 0o660), ("600", 0o600), ("0777", 0o777)] {
            assert_eq!(FileMode::from_text(text).unwrap(), FileMode(mode));
        }
        for text in ["", "66", "0888", "1777", "06600", "u+rw", "-660"] {
            assert!(FileMode::from_text(text).is_err(), "{text}");
        }
        assert!(FileMode::from_number(660).is_err());
    }
}
