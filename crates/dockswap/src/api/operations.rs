//! What every route takes and answers, as the API's document says it. Who may use a route, and what is
//! done there, it must not know.

use super::code::Code;
use super::query::{FARTHEST, MOST, USUAL};
use super::wire;
use axum::http;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

/// The methods of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Delete,
}

impl Method {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
            Self::Delete => "delete",
        }
    }
}

/// A schema, as a part of the document that the generator makes.
pub(super) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// A parameter of a question.
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) schema: fn() -> Value,
}

/// What is answered when it went well.
pub(super) enum Answer {
    /// A document (200).
    Json(Shape),
    /// A part of a list (200), with `Link` where there is a next one.
    List(Shape),
    /// What became of an order: begun (202), or so already (200).
    Accepted,
    /// What was made (201).
    Created(Shape),
    /// Another kind of text (200).
    Text(&'static str),
}

/// A method of a path.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    pub(super) query: &'static [Parameter],
    /// What must be sent.
    pub(super) order: Option<Shape>,
    pub(super) answer: Answer,
    /// The problems that it may be answered with, beside those of every operation of its kind.
    pub(super) codes: &'static [Code],
}

impl Operation {
    /// Whether it changes anything.
    pub(super) fn is_order(&self) -> bool {
        self.method != Method::Get
    }
}

/// The operation of a route, as the router names it; `HEAD` is `GET` without the body.
pub(super) fn find(method: &http::Method, path: &str) -> Option<&'static Operation> {
    let method = if *method == http::Method::HEAD { "GET" } else { method.as_str() };
    OPERATIONS.iter().find(|one| one.path == path && one.method.as_str().eq_ignore_ascii_case(method))
}

fn schema_of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

const LIMIT: Parameter = Parameter {
    name: "limit",
    about: "How many rows at most.",
    schema: || json!({ "type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL }),
};

const OFFSET: Parameter = Parameter {
    name: "offset",
    about: "How many rows are passed over first.",
    schema: || json!({ "type": "integer", "minimum": 0, "maximum": FARTHEST, "default": 0 }),
};

const LIST: &[Parameter] = &[LIMIT, OFFSET];

const AUDIT: &[Parameter] = &[
    Parameter {
        name: "app",
        about: "Only orders about this app.",
        schema: || json!({ "$ref": "#/components/schemas/AppName" }),
    },
    Parameter { name: "actor", about: "Only this actor's orders.", schema: || json!({ "type": "string" }) },
    LIMIT,
    OFFSET,
];

const AFTER: Parameter = Parameter {
    name: "after",
    about: "The last event that was seen; 0: from the first one. `Last-Event-ID` wins over it.",
    schema: || json!({ "type": "integer", "minimum": 0, "maximum": i64::MAX }),
};

const COLOR: Parameter = Parameter {
    name: "color",
    about: "The slot; absent: what serves.",
    schema: || json!({ "enum": ["blue", "green"] }),
};

const fn ask(
    path: &'static str,
    id: &'static str,
    about: &'static str,
    query: &'static [Parameter],
    answer: Answer,
    codes: &'static [Code],
) -> Operation {
    Operation { method: Method::Get, path, id, about, query, order: None, answer, codes }
}

const fn order(
    path: &'static str,
    id: &'static str,
    about: &'static str,
    order: Option<Shape>,
    codes: &'static [Code],
) -> Operation {
    Operation { method: Method::Post, path, id, about, query: &[], order, answer: Answer::Accepted, codes }
}

const OF_APP: &[Code] = &[Code::UnknownApp, Code::Invalid];

/// What the machine may say to an order.
const REFUSED: &[Code] = &[
    Code::UnknownApp,
    Code::Invalid,
    Code::Busy,
    Code::NotNow,
    Code::NeverDeployed,
    Code::NothingHealthy,
    Code::InMaintenance,
    Code::Superseded,
    Code::Fenced,
    Code::Already,
    Code::ShuttingDown,
];

/// The same, and what there may not be to go to.
const NOWHERE: &[Code] = &[
    Code::UnknownApp,
    Code::UnknownDeployment,
    Code::NoPrevious,
    Code::NoStandby,
    Code::Invalid,
    Code::Busy,
    Code::NotNow,
    Code::NeverDeployed,
    Code::NothingHealthy,
    Code::RunsAlone,
    Code::RouteTaken,
    Code::StandbyUnfit,
    Code::NeverRan,
    Code::Fenced,
    Code::Already,
    Code::ShuttingDown,
];

/// The same, and what comes in force only with the proxy.
const GATED: &[Code] = &[
    Code::UnknownApp,
    Code::Invalid,
    Code::InvalidPause,
    Code::PageTooLong,
    Code::NotNow,
    Code::NeverDeployed,
    Code::InMaintenance,
    Code::Fenced,
    Code::Already,
    Code::NotInForce,
    Code::ShuttingDown,
];

/// Every operation.
pub(super) static OPERATIONS: &[Operation] = &[
    ask(
        "/v1/apps",
        "apps",
        "Every app, and files that belong to none",
        &[],
        Answer::Json(schema_of::<wire::Apps>),
        &[],
    ),
    ask("/v1/apps/{app}", "app", "An app as it stands", &[], Answer::Json(schema_of::<wire::App>), OF_APP),
    ask(
        "/v1/apps/{app}/why",
        "why",
        "The facts behind an app's state",
        &[],
        Answer::Json(schema_of::<wire::Why>),
        OF_APP,
    ),
    ask(
        "/v1/apps/{app}/health",
        "health",
        "Probes an app's containers now",
        &[],
        Answer::Json(schema_of::<wire::Health>),
        &[Code::UnknownApp, Code::Docker],
    ),
    ask(
        "/v1/apps/{app}/docker-run",
        "dockerRun",
        "The equivalent `docker run`, values masked",
        &[COLOR],
        Answer::Json(schema_of::<wire::DockerRun>),
        &[Code::UnknownApp, Code::NoVersion, Code::Invalid],
    ),
    ask(
        "/v1/apps/{app}/drift",
        "drift",
        "Wherein an app's containers are not what was asked for",
        &[],
        Answer::Json(schema_of::<wire::Drifts>),
        &[Code::UnknownApp, Code::Invalid, Code::Docker],
    ),
    ask(
        "/v1/apps/{app}/logs",
        "logs",
        "What an app's containers wrote",
        &[
            COLOR,
            Parameter {
                name: "tail",
                about: "Lines from the end; absent: all.",
                schema: || json!({ "type": "integer", "minimum": 0, "maximum": 1_000_000 }),
            },
            Parameter {
                name: "follow",
                about: "Whether to go on as more is written.",
                schema: || json!({ "type": "boolean", "default": false }),
            },
        ],
        Answer::Text("text/plain"),
        &[Code::UnknownApp, Code::NoContainer, Code::Docker],
    ),
    ask(
        "/v1/apps/{app}/deployments",
        "deployments",
        "An app's deployments, newest first",
        LIST,
        Answer::List(schema_of::<wire::Deployments>),
        OF_APP,
    ),
    ask(
        "/v1/apps/{app}/configs",
        "configs",
        "The versions of an app's file, newest first",
        LIST,
        Answer::List(schema_of::<wire::Configs>),
        OF_APP,
    ),
    ask(
        "/v1/apps/{app}/events",
        "appEvents",
        "An app's events, newest first",
        LIST,
        Answer::List(schema_of::<wire::Events>),
        OF_APP,
    ),
    ask(
        "/v1/apps/{app}/events/stream",
        "followApp",
        "An app's events as they happen",
        &[AFTER],
        Answer::Text("text/event-stream"),
        OF_APP,
    ),
    order(
        "/v1/apps/{app}/deployments",
        "deploy",
        "Deploys the newest version of the file, or another image",
        Some(schema_of::<wire::DeployOrder>),
        &[
            Code::UnknownApp,
            Code::Invalid,
            Code::InvalidImage,
            Code::NothingToDeploy,
            Code::Busy,
            Code::NotNow,
            Code::Superseded,
            Code::Fenced,
            Code::ShuttingDown,
        ],
    ),
    order(
        "/v1/apps/{app}/rollback",
        "rollback",
        "Goes back to an earlier deployment",
        Some(schema_of::<wire::RollbackOrder>),
        NOWHERE,
    ),
    order(
        "/v1/apps/{app}/switch",
        "switch",
        "Moves the traffic to the standby",
        Some(schema_of::<wire::SwitchOrder>),
        NOWHERE,
    ),
    order("/v1/apps/{app}/promote", "promote", "Lets the candidate take the traffic", None, REFUSED),
    order("/v1/apps/{app}/cancel", "cancel", "Ends the deployment in flight", None, NOWHERE),
    order("/v1/apps/{app}/recover", "recover", "Settles on what Docker and the proxy show", None, REFUSED),
    order(
        "/v1/apps/{app}/pause",
        "pause",
        "Lets new requests wait",
        Some(schema_of::<wire::PauseOrder>),
        GATED,
    ),
    order("/v1/apps/{app}/resume", "resume", "Lets them go on", None, GATED),
    order(
        "/v1/apps/{app}/maintenance",
        "close",
        "Has new requests answered 503",
        Some(schema_of::<wire::MaintenanceOrder>),
        GATED,
    ),
    Operation {
        method: Method::Delete,
        ..order("/v1/apps/{app}/maintenance", "open", "Lets new requests in again", None, GATED)
    },
    Operation {
        method: Method::Delete,
        ..order("/v1/apps/{app}", "remove", "Takes an app out of service", None, REFUSED)
    },
    ask(
        "/v1/configs/{id}",
        "config",
        "The very bytes of a version of a file",
        &[],
        Answer::Text("text/yaml"),
        &[Code::UnknownConfig],
    ),
    ask(
        "/v1/deployments/{id}",
        "deployment",
        "A deployment",
        &[],
        Answer::Json(schema_of::<wire::Deployment>),
        &[Code::UnknownDeployment],
    ),
    ask(
        "/v1/deployments/{id}/events",
        "deploymentEvents",
        "A deployment's events, newest first",
        LIST,
        Answer::List(schema_of::<wire::Events>),
        &[Code::UnknownDeployment],
    ),
    ask(
        "/v1/deployments/{id}/events/stream",
        "followDeployment",
        "A deployment's events from the first to the last, as they happen",
        &[AFTER],
        Answer::Text("text/event-stream"),
        &[Code::UnknownDeployment],
    ),
    ask(
        "/v1/events",
        "followAll",
        "Every app's events as they happen",
        &[
            Parameter {
                name: "app",
                about: "Only this app's.",
                schema: || json!({ "$ref": "#/components/schemas/AppName" }),
            },
            AFTER,
        ],
        Answer::Text("text/event-stream"),
        OF_APP,
    ),
    ask(
        "/v1/drift",
        "allDrift",
        "The same of every app that the caller may see",
        &[],
        Answer::Json(schema_of::<wire::Drifts>),
        &[Code::Docker],
    ),
    ask(
        "/v1/facts",
        "facts",
        "What is known of the machine, and since when",
        &[],
        Answer::Json(schema_of::<wire::Facts>),
        &[],
    ),
    ask(
        "/v1/files",
        "files",
        "The files of the config directory",
        &[],
        Answer::Json(schema_of::<wire::Files>),
        &[],
    ),
    Operation {
        method: Method::Post,
        answer: Answer::Json(schema_of::<wire::Files>),
        ..order("/v1/reload", "reload", "Reads the config directory now", None, &[])
    },
    ask(
        "/v1/prune",
        "prunable",
        "How much of what is old would go",
        &[],
        Answer::Json(schema_of::<wire::Pruning>),
        &[Code::ShuttingDown],
    ),
    Operation {
        method: Method::Post,
        answer: Answer::Json(schema_of::<wire::Pruning>),
        ..order(
            "/v1/prune",
            "prune",
            "Removes what is old, for a few seconds: where there is more, the controller goes on by itself",
            None,
            &[Code::Docker, Code::ShuttingDown],
        )
    },
    ask(
        "/v1/certificates",
        "certificates",
        "The certificates of every app",
        &[],
        Answer::Json(schema_of::<wire::Certificates>),
        &[],
    ),
    ask(
        "/v1/backups",
        "backups",
        "The backups that the controller takes by itself",
        &[],
        Answer::Json(schema_of::<wire::Backups>),
        &[],
    ),
    ask(
        "/v1/projects",
        "projects",
        "Every project that the caller may see",
        &[],
        Answer::Json(schema_of::<wire::Projects>),
        &[],
    ),
    Operation {
        method: Method::Delete,
        answer: Answer::Json(schema_of::<wire::ProjectRemoved>),
        ..order(
            "/v1/projects/{project}",
            "removeProject",
            "Takes away what was granted in a project",
            None,
            &[Code::UnknownProject, Code::ProjectInService, Code::ProjectUnknown],
        )
    },
    ask(
        "/v1/audit",
        "audit",
        "Who ordered what, newest first",
        AUDIT,
        Answer::List(schema_of::<wire::AuditLog>),
        &[],
    ),
    ask(
        "/v1/whoami",
        "whoami",
        "Who the caller is taken for",
        &[],
        Answer::Json(schema_of::<wire::WhoAmI>),
        &[],
    ),
    ask(
        "/v1/tokens",
        "tokens",
        "Every token, newest first",
        LIST,
        Answer::List(schema_of::<wire::Tokens>),
        &[],
    ),
    Operation {
        answer: Answer::Created(schema_of::<wire::NewToken>),
        ..order(
            "/v1/tokens",
            "createToken",
            "Makes a token; it is in this answer alone",
            Some(schema_of::<wire::TokenOrder>),
            &[Code::InvalidToken, Code::NameTaken, Code::NoRandomness],
        )
    },
    Operation {
        method: Method::Delete,
        answer: Answer::Json(schema_of::<wire::Token>),
        ..order(
            "/v1/tokens/{token}",
            "revokeToken",
            "Revokes a token, by its name or id",
            None,
            &[Code::UnknownToken],
        )
    },
    ask(
        "/v1/openapi.json",
        "document",
        "This document",
        &[],
        Answer::Json(|_| schemars::json_schema!({ "type": "object" })),
        &[],
    ),
    ask("/healthz", "alive", "Whether the controller lives", &[], Answer::Text("text/plain"), &[]),
    ask(
        "/readyz",
        "ready",
        "Whether it is ready; 503 with the reason, as text, where not",
        &[],
        Answer::Text("text/plain"),
        &[],
    ),
    ask(
        "/metrics",
        "metrics",
        "What it counts, for monitors",
        &[],
        Answer::Text("application/openmetrics-text"),
        &[],
    ),
];
