//! Going on after the majority is lost for ever: by decision of the recovery keys alone, never by itself.

mod statement;
