//! YAML in, resolved configuration out.
