//! One macro for the types that have one text form: names, ids, times, addresses, durations.
//!
//! Such a type implements [`FromStr`](std::str::FromStr) and [`Display`](std::fmt::Display), or has
//! an `as_str`. The macro adds what follows from that, so that JSON, the configuration and the
//! command line all use the same text.

/// Implements the traits that follow from the text form of a type.
///
/// - `text_type!(Type)`: serde, by `Display` and `FromStr`.
/// - `text_type!(Type, as_str)`: serde, and `Display` by the type's own `as_str`.
/// - `text_type!(Type, "Name", "description", { "pattern": … })`: serde, `Debug` as `Display`, and
///   a JSON Schema with the format `hereabouts-Name`. The last argument holds the keywords beside
///   `type`, `description` and `format`.
/// - `text_type!(Type, as_str, "Name", "description", { … })`: all of these.
macro_rules! text_type {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
    ($type:ty, as_str) => {
        $crate::model::text_type!($type);

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
    ($type:ty, as_str, $name:literal, $description:literal, { $($keyword:literal: $value:expr),* $(,)? }) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        $crate::model::text_type!($type, $name, $description, { $($keyword: $value),* });
    };
    ($type:ty, $name:literal, $description:literal, { $($keyword:literal: $value:expr),* $(,)? }) => {
        $crate::model::text_type!($type);

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "description": $description,
                    "format": concat!("hereabouts-", $name),
                    $($keyword: $value),*
                })
            }
        }
    };
}
pub(crate) use text_type;
