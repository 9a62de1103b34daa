//! How what goes wrong is answered: as a problem (RFC 9457), by its code.

use super::code::Code;
use super::wire;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dockswap_controller::{HealthError, OrderError};
use dockswap_core::machine::Refusal;
use dockswap_core::ports::EngineError;
use dockswap_core::records::StoreError;
use dockswap_core::{AppName, DeploymentId};
use std::error::Error;

/// An answer that says no. Texts hold no secrets: those of the errors below hold none.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// As it goes over the socket.
    pub(crate) fn into_wire(self) -> wire::Problem {
        wire::Problem {
            kind: format!("urn:dockswap:problem:{}", self.code.as_str()),
            title: self.code.title().to_owned(),
            status: self.code.status().as_u16(),
            code: self.code.as_str().to_owned(),
            detail: self.detail,
        }
    }

    /// The same in other words.
    pub(crate) fn saying(self, words: impl FnOnce(&str) -> String) -> Self {
        Self { detail: words(&self.detail), ..self }
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::Invalid, detail)
    }

    pub(crate) fn unknown_app(app: &impl std::fmt::Display) -> Self {
        Self::new(Code::UnknownApp, format!("there is no app {app}"))
    }

    pub(crate) fn unknown_deployment(id: DeploymentId) -> Self {
        Self::new(Code::UnknownDeployment, format!("there is no deployment {id}"))
    }

    pub(crate) fn no_container(app: &AppName, color: Option<dockswap_core::Color>) -> Self {
        let of = color.map_or_else(|| app.to_string(), |color| format!("{app} in {color}"));
        Self::new(Code::NoContainer, format!("there is no container of {of}"))
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(Code::NoSuchPath, "the API has no such path: GET /v1/openapi.json lists those it has")
    }

    pub(crate) fn no_such_method() -> Self {
        Self::new(Code::NoSuchMethod, "the API has this path, and not for this method")
    }

    pub(crate) fn too_long(limit: usize) -> Self {
        Self::new(Code::TooLong, format!("a body here has at most {} KiB", limit.div_ceil(1024)))
    }

    pub(crate) fn late() -> Self {
        let detail = "the controller could not do this in time: Docker, the database or the proxy is slow";
        Self::new(Code::Late, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, document) = (self.code.status(), self.into_wire());
        let mut response = (status, axum::Json(&document)).into_response();
        // For the record of what was asked.
        response.extensions_mut().insert(document);
        let kind = HeaderValue::from_static(wire::PROBLEM);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// An error and what caused it, in one line.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        let code = match error {
            OrderError::Store(error) => return error.into(),
            OrderError::Refused(refusal) => return refusal.into(),
            OrderError::Engine(error) => return error.into(),
            OrderError::Pruned(_) => Code::Pruned,
            OrderError::UnknownApp(_) => Code::UnknownApp,
            OrderError::UnknownDeployment { .. } => Code::UnknownDeployment,
            OrderError::NoPrevious(_) => Code::NoPrevious,
            OrderError::NoStandby { .. } => Code::NoStandby,
            OrderError::RunsAlone(_) => Code::RunsAlone,
            OrderError::RouteTaken { .. } => Code::RouteTaken,
            OrderError::StandbyUnfit { .. } => Code::StandbyUnfit,
            OrderError::NeverRan(_) => Code::NeverRan,
            OrderError::Superseded => Code::Superseded,
            OrderError::NothingToDeploy(_) => Code::NothingToDeploy,
            OrderError::Config(_) => Code::Invalid,
            OrderError::ShuttingDown => Code::ShuttingDown,
            OrderError::NotInForce(_) => Code::NotInForce,
        };
        Self::new(code, with_causes(&error))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::NotNow { .. }
            | Refusal::TooEarly { .. }
            | Refusal::Stale { .. }
            | Refusal::Elsewhere { .. } => Code::NotNow,
            Refusal::Busy { .. } => Code::Busy,
            Refusal::NothingToGoBackTo => Code::NoPrevious,
            Refusal::NoWarmStandby => Code::NoStandby,
            Refusal::NothingHealthy => Code::NothingHealthy,
            Refusal::NeverDeployed => Code::NeverDeployed,
            Refusal::InMaintenance => Code::InMaintenance,
            Refusal::Already { .. } => Code::Already,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Fenced { .. } => Code::Fenced,
            StoreError::TimedOut { .. } | StoreError::Failed { .. } | StoreError::Unreadable { .. } => {
                Code::Database
            }
        };
        Self::new(code, with_causes(&error))
    }
}

impl From<HealthError> for Problem {
    fn from(error: HealthError) -> Self {
        match error {
            HealthError::UnknownApp => Self::new(Code::UnknownApp, error.to_string()),
            HealthError::NoVersion => Self::new(Code::NoVersion, error.to_string()),
            HealthError::Config(message) => Self::invalid(message),
            HealthError::Engine(error) => error.into(),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        Self::new(Code::Docker, error.to_string())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        let code = match &rejection {
            JsonRejection::JsonDataError(_) => Code::BadOrder,
            JsonRejection::MissingJsonContentType(_) => {
                return Self::new(Code::NotJson, "write `Content-Type: application/json`");
            }
            rejection if rejection.status() == Code::TooLong.status() => Code::TooLong,
            _ => Code::BadJson,
        };
        Self::new(code, rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(Code::BadRequest, rejection.body_text())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::Problem;
    use dockswap_controller::OrderError;
    use dockswap_core::machine::Refusal;
    use dockswap_core::ports::RouterError;
    use dockswap_core::records::StoreError;
    use dockswap_core::{AppName, Color, DeploymentId};

    #[test]
    fn every_refused_order_has_its_status_and_code() {
        let app = || "web".parse::<AppName>().unwrap();
        let failed = |operation| StoreError::TimedOut { operation, seconds: 10 };
        for (error, status, code) in [
            (OrderError::UnknownApp(app()), 404, "unknown_app"),
            (OrderError::NothingToDeploy(app()), 422, "nothing_to_deploy"),
            (
                OrderError::UnknownDeployment { app: app(), deployment: DeploymentId(9) },
                404,
                "unknown_deployment",
            ),
            (OrderError::NeverRan(DeploymentId(3)), 409, "never_ran"),
            (OrderError::Pruned(DeploymentId(3)), 404, "pruned"),
            (OrderError::NoPrevious(app()), 404, "no_previous"),
            (OrderError::NoStandby { app: app(), color: Color::Green }, 404, "no_standby"),
            (OrderError::StandbyUnfit { app: app(), color: Color::Green }, 409, "standby_unfit"),
            (OrderError::Superseded, 409, "superseded"),
            (OrderError::RunsAlone(app()), 409, "runs_alone"),
            (Refusal::Busy { state: "pulling" }.into(), 409, "busy"),
            (Refusal::NothingHealthy.into(), 409, "nothing_healthy"),
            (Refusal::NeverDeployed.into(), 409, "never_deployed"),
            (Refusal::InMaintenance.into(), 409, "in_maintenance"),
            (
                OrderError::NotInForce(RouterError::Unavailable { message: "x".to_owned() }),
                503,
                "not_in_force",
            ),
            (OrderError::Config("bad".to_owned()), 422, "invalid"),
            (failed("x").into(), 503, "database"),
            (StoreError::Fenced { operation: "x" }.into(), 409, "fenced"),
            (OrderError::ShuttingDown, 503, "shutting_down"),
        ] {
            let text = error.to_string();
            let problem = Problem::from(error);
            assert_eq!((problem.code.status().as_u16(), problem.code.as_str()), (status, code), "{text}");
            assert!(problem.detail.starts_with(&text));
        }
    }
}
