//! The JSON Schema of the app file, made from the tables that the decoder goes by.

use crate::app;
use crate::fields::{Field, Shape};
use crate::tls;
use serde_json::{Map, Value, json};

const NAME: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";
const DURATION: &str = r"^(0|([0-9]+(\.[0-9]+)?(d|h|m|s|ms))+)$";

/// The JSON Schema (draft 2020-12) of an app file: what editors complete and check by. It accepts
/// whatever [`crate::parse_app`] accepts; rules over several fields and the finer grammars are for
/// the latter alone.
#[must_use]
pub fn schema() -> Value {
    let mut schema = object(app::FIELDS, app::REQUIRED);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("dockswap app file");
    schema["not"] = json!({ "required": ["routes", "proxy"] });
    schema
}

fn object(fields: &[Field], required: &[&str]) -> Value {
    let property = |field: &Field| {
        let mut schema = shape(&field.shape);
        schema["description"] = json!(field.about);
        (field.key.to_owned(), schema)
    };
    let properties: Map<String, Value> = fields.iter().map(property).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn shape(shape: &Shape) -> Value {
    let scalar = json!({ "type": ["string", "number", "boolean"] });
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let map = json!({ "type": "object", "additionalProperties": scalar });
    match shape {
        Shape::Name => json!({ "type": "string", "pattern": NAME }),
        Shape::Text | Shape::Image | Shape::Host | Shape::FilePath => {
            json!({ "type": "string", "minLength": 1 })
        }
        Shape::User => json!({ "type": ["string", "integer"], "minLength": 1 }),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Integer { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Port => json!({ "type": "integer", "minimum": 1, "maximum": 65_535 }),
        Shape::Duration { .. } => {
            json!({ "anyOf": [{ "type": "string", "pattern": DURATION }, { "const": 0 }] })
        }
        Shape::Size => {
            json!({ "type": ["string", "integer"], "pattern": "^[0-9]+([.][0-9]+)?([bB]|[kKmMgG]([iI]?[bB])?)?$" })
        }
        Shape::Cpus => json!({ "type": ["string", "number"], "pattern": "^[0-9]+([.][0-9]+)?$" }),
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::Environment | Shape::Labels => json!({ "anyOf": [map, texts] }),
        Shape::Texts | Shape::Tmpfs => json!({ "anyOf": [{ "type": "string", "minLength": 1 }, texts] }),
        Shape::Command => json!({ "anyOf": [scalar, { "type": "array", "items": scalar }] }),
        Shape::ExtraHosts => {
            json!({ "anyOf": [texts, { "type": "object", "additionalProperties": { "type": "string" } }] })
        }
        Shape::Ulimits => {
            let bound = json!({ "type": ["integer", "string"], "minimum": -1 });
            let both = json!({
                "type": "object",
                "properties": { "soft": bound, "hard": bound },
                "required": ["soft", "hard"],
                "additionalProperties": false,
            });
            json!({ "type": "object", "additionalProperties": { "anyOf": [bound, both] } })
        }
        Shape::Volumes | Shape::Paths | Shape::Networks => texts,
        Shape::Restart => {
            json!({ "type": "string", "pattern": "^(no|always|on-failure(:[0-9]+)?|unless-stopped)$" })
        }
        Shape::Statuses => {
            let one = json!({
                "anyOf": [
                    { "type": "integer", "minimum": 100, "maximum": 599 },
                    { "type": "string", "pattern": "^ *[1-5][0-9]{2} *(- *[1-5][0-9]{2} *)?$" },
                ],
            });
            json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
        }
        Shape::Path => json!({ "type": "string", "pattern": "^/" }),
        Shape::Tls => json!({ "anyOf": [{ "type": "boolean" }, object(tls::TLS, &[])] }),
        Shape::Address => json!({ "type": ["string", "integer"] }),
        Shape::Section(fields, required) => object(fields, required),
        Shape::Sections(fields) => json!({ "type": "array", "items": object(fields, &[]), "minItems": 1 }),
    }
}

#[cfg(test)]
mod tests {
    use super::schema;
    use crate::{Policy, parse_app};
    use serde_json::Value;
    use std::path::Path;

    /// Every field of the schema, as a path of keys.
    fn paths(schema: &Value, above: &[String], found: &mut Vec<Vec<String>>) {
        for (key, field) in schema["properties"].as_object().into_iter().flatten() {
            let path: Vec<String> = above.iter().chain([key]).cloned().collect();
            let list = field["items"].get("properties").map(|_| &field["items"]);
            match list {
                Some(item) => paths(item, &path, found),
                None if field.get("properties").is_some() => paths(field, &path, found),
                None => found.push(path),
            }
        }
    }

    /// The decoder reads what the tables (and so the schema) list: a value that suits no field is a
    /// problem of every one of them. The other direction, that it reads nothing else, is asserted
    /// where it reads.
    #[test]
    fn the_decoder_reads_every_field() {
        let mut found = Vec::new();
        paths(&schema(), &[], &mut found);
        assert!(found.len() > 50, "{found:?}");
        for path in found {
            let nothing_fits = "[{ x: [] }]".to_owned();
            let wrap = |inner: String, key: &String| match key.as_str() {
                "routes" => format!("{{ routes: [{inner}] }}"),
                _ => format!("{{ {key}: {inner} }}"),
            };
            let text = path.iter().rev().fold(nothing_fits, wrap);
            let problems = parse_app(Path::new("a"), text.as_bytes(), Path::new("/"), &Policy::default());
            let name = path.join(".").replace("routes.", "routes[0].");
            let named = |problem: &crate::Problem| {
                problem.path.starts_with(&name) && !problem.message.contains("unknown key")
            };
            let problems = problems.expect_err(&text);
            assert!(problems.iter().any(named), "{name}: {problems:?}");
        }
    }

    #[test]
    fn every_field_is_described() {
        fn check(schema: &Value) {
            for (key, field) in schema["properties"].as_object().into_iter().flatten() {
                assert!(field["description"].as_str().is_some_and(|text| text.ends_with('.')), "{key}");
                check(field);
                check(&field["items"]);
            }
        }
        check(&schema());
    }
}
