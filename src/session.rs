//! What a session is made of: the values that a record stores. Pure: no clocks, no I/O, no logging.

pub mod credential;
pub mod text;
