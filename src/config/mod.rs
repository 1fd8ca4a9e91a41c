//! One YAML file, its schema, and every error in it with its place.
