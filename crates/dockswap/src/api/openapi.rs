//! The API's document, OpenAPI 3.1, made from the table of operations and the types that go over the
//! wire. It must not know how anything is done.

use super::code::Code;
use super::once::LONGEST_KEY;
use super::operations::{Answer, OPERATIONS, Operation};
use super::wire;
use axum::Json;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Where schemas are in the document.
const SCHEMAS: &str = "/components/schemas";

/// What any operation may be answered.
const OF_ALL: &[Code] = &[
    Code::BadRequest,
    Code::Unauthenticated,
    Code::Forbidden,
    Code::CrossSite,
    Code::BadParameter,
    Code::Misdirected,
    Code::TooMany,
    Code::Database,
    Code::Late,
];

/// And what orders may be.
const OF_ORDERS: &[Code] =
    &[Code::BadKey, Code::KeyRunning, Code::AnswerNotKept, Code::KeyMismatch, Code::TooLong];

/// And those that carry something.
const OF_BODIES: &[Code] = &[Code::BadJson, Code::NotJson, Code::BadOrder];

pub(super) async fn answer() -> Json<Value> {
    Json(document())
}

/// The document.
pub(crate) fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        settings.meta_schema = None;
    });
    let mut answers = settings.clone().for_serialize().into_generator();
    let mut orders = settings.for_deserialize().into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for one in OPERATIONS {
        let described = operation(one, &mut answers, &mut orders);
        paths.entry(one.path).or_default().insert(one.method.as_str().to_owned(), described);
    }
    answers.subschema_for::<wire::Problem>();
    answers.subschema_for::<dockswap_core::AppName>();
    answers.subschema_for::<dockswap_core::ProjectName>();
    // What is sent and what is answered has the same form where it has the same name.
    let mut schemas = orders.take_definitions(true);
    schemas.extend(answers.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "dockswap",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Blue-green deployments for Docker: what the controller is asked and told.",
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
        // Over the socket, the user of the process that asks is who asks.
        "security": [{ "token": [] }, {}],
    })
}

fn operation(one: &Operation, answers: &mut SchemaGenerator, orders: &mut SchemaGenerator) -> Value {
    let mut described = json!({
        "operationId": one.id,
        "summary": one.about,
        "parameters": parameters(one),
        "responses": responses(one, answers),
    });
    if matches!(one.path, "/healthz" | "/readyz") {
        described["security"] = json!([]);
    }
    if let Some(shape) = one.order {
        let schema = shape(orders);
        described["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    }
    described
}

fn parameters(one: &Operation) -> Vec<Value> {
    let mut parameters = Vec::new();
    if one.path.contains("{app}") {
        let schema = json!({ "$ref": format!("#{SCHEMAS}/AppName") });
        parameters.push(json!({ "name": "app", "in": "path", "required": true, "schema": schema }));
    }
    if one.path.contains("{project}") {
        let schema = json!({ "$ref": format!("#{SCHEMAS}/ProjectName") });
        parameters.push(json!({ "name": "project", "in": "path", "required": true, "schema": schema }));
    }
    if one.path.contains("{token}") {
        let schema = json!({ "type": "string", "minLength": 1, "maxLength": 64 });
        parameters.push(json!({ "name": "token", "in": "path", "required": true, "schema": schema }));
    }
    if one.path.contains("{id}") {
        let schema = json!({ "type": "integer", "format": "int64", "minimum": 1 });
        parameters.push(json!({ "name": "id", "in": "path", "required": true, "schema": schema }));
    }
    for parameter in one.query {
        parameters.push(json!({
            "name": parameter.name,
            "in": "query",
            "description": parameter.about,
            "schema": (parameter.schema)(),
        }));
    }
    if one.is_order() {
        parameters.push(json!({
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Sent again with the same key within 24 h, the order is not carried out again: its answer is.",
            "schema": { "type": "string", "pattern": format!("^[!-~]{{1,{LONGEST_KEY}}}$") },
        }));
    }
    parameters
}

fn responses(one: &Operation, schemas: &mut SchemaGenerator) -> Map<String, Value> {
    let mut responses = Map::new();
    let content = |kind: &str, schema: Value| json!({ kind: { "schema": schema } });
    let text = json!({ "type": "string" });
    match &one.answer {
        Answer::Json(shape) => {
            let content = content("application/json", shape(schemas).to_value());
            responses.insert("200".to_owned(), json!({ "description": one.about, "content": content }));
        }
        Answer::Created(shape) => {
            let content = content("application/json", shape(schemas).to_value());
            responses.insert("201".to_owned(), json!({ "description": one.about, "content": content }));
        }
        Answer::List(shape) => {
            let content = content("application/json", shape(schemas).to_value());
            let link = json!({
                "description": "`<…>; rel=\"next\"`: the next part, where there is one.",
                "schema": text,
            });
            let answer = json!({ "description": one.about, "headers": { "Link": link }, "content": content });
            responses.insert("200".to_owned(), answer);
        }
        Answer::Accepted => {
            let schema = schemas.subschema_for::<wire::Accepted>().to_value();
            for (status, about) in
                [("200", "It is so already."), ("202", "It is begun, or waits for its turn.")]
            {
                let content = content("application/json", schema.clone());
                responses.insert(status.to_owned(), json!({ "description": about, "content": content }));
            }
        }
        Answer::Text(kind) => {
            // A reader of YAML makes what it likes of it.
            let schema = if *kind == "text/yaml" { json!({}) } else { text.clone() };
            let answer = json!({ "description": one.about, "content": content(kind, schema) });
            responses.insert("200".to_owned(), answer);
        }
    }
    let mut problems: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    let of_orders = if one.is_order() { OF_ORDERS } else { &[] };
    let of_bodies = if one.order.is_some() { OF_BODIES } else { &[] };
    for code in [OF_ALL, of_orders, of_bodies, one.codes].concat() {
        problems.entry(code.status().as_u16()).or_default().push(code.as_str());
    }
    for (status, codes) in problems {
        let mut kinds = content(wire::PROBLEM, json!({ "$ref": format!("#{SCHEMAS}/Problem") }));
        if status == 503 && one.path == "/readyz" {
            kinds["text/plain"] = json!({ "schema": text });
        }
        let about = format!("`code`: {}", codes.join(", "));
        responses.insert(status.to_string(), json!({ "description": about, "content": kinds }));
    }
    responses
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::document;
    use crate::api::doors::routes;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// Every `$ref` in `value`.
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100, "{}", found.len());
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let described: BTreeSet<String> = paths
            .iter()
            .flat_map(|(path, methods)| {
                methods
                    .as_object()
                    .unwrap()
                    .keys()
                    .map(move |method| format!("{} {path}", method.to_uppercase()))
            })
            .collect();
        let routes: BTreeSet<String> =
            routes().into_iter().map(|route| format!("{} {}", route.method, route.path)).collect();
        assert_eq!(described, routes);
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let mut names: Vec<&str> = paths
            .values()
            .flat_map(|path| path.as_object().unwrap().values())
            .map(|operation| operation["operationId"].as_str().unwrap())
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), count), (count, super::OPERATIONS.len()));
    }
}
