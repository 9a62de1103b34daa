//! How what goes wrong is answered: one stable code and one HTTP status for each kind.

use super::wire;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dockswap_controller::{HealthError, OrderError};
use dockswap_core::machine::Refusal;
use dockswap_core::ports::EngineError;
use dockswap_core::records::StoreError;
use dockswap_core::{AppName, DeploymentId};
use std::error::Error;

/// An answer that says no. Texts hold no secrets: those of the errors below hold none.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    /// As it goes over the socket.
    pub(crate) fn into_wire(self) -> wire::Problem {
        wire::Problem { status: self.status.as_u16(), code: self.code.to_owned(), detail: self.detail }
    }

    pub(crate) fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    pub(crate) fn unknown_app(app: &impl std::fmt::Display) -> Self {
        Self::not_found("unknown_app", format!("there is no app {app}"))
    }

    pub(crate) fn unknown_deployment(id: DeploymentId) -> Self {
        Self::not_found("unknown_deployment", format!("there is no deployment {id}"))
    }

    pub(crate) fn no_container(app: &AppName, color: Option<dockswap_core::Color>) -> Self {
        let of = color.map_or_else(|| app.to_string(), |color| format!("{app} in {color}"));
        Self::not_found("no_container", format!("there is no container of {of}"))
    }

    pub(crate) fn no_such_method() -> Self {
        let detail = "the API has this path, and not for this method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "no_such_method", detail)
    }

    pub(crate) fn late() -> Self {
        let detail = "the controller could not do this in time: Docker, the database or the proxy is slow";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "late", detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.into_wire())).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
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
        let (status, code) = match error {
            OrderError::Store(error) => return error.into(),
            OrderError::Refused(refusal) => return refusal.into(),
            OrderError::Engine(error) => return error.into(),
            OrderError::Pruned(_) => (StatusCode::NOT_FOUND, "pruned"),
            OrderError::UnknownApp(_) => (StatusCode::NOT_FOUND, "unknown_app"),
            OrderError::UnknownDeployment { .. } => (StatusCode::NOT_FOUND, "unknown_deployment"),
            OrderError::NoPrevious(_) => (StatusCode::NOT_FOUND, "no_previous"),
            OrderError::NoStandby { .. } => (StatusCode::NOT_FOUND, "no_standby"),
            OrderError::RunsAlone(_) => (StatusCode::CONFLICT, "runs_alone"),
            OrderError::RouteTaken { .. } => (StatusCode::CONFLICT, "route_taken"),
            OrderError::StandbyUnfit { .. } => (StatusCode::CONFLICT, "standby_unfit"),
            OrderError::NeverRan(_) => (StatusCode::CONFLICT, "never_ran"),
            OrderError::Superseded => (StatusCode::CONFLICT, "superseded"),
            OrderError::NothingToDeploy(_) => (StatusCode::UNPROCESSABLE_ENTITY, "nothing_to_deploy"),
            OrderError::Config(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            OrderError::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting_down"),
            OrderError::NotInForce(_) => (StatusCode::SERVICE_UNAVAILABLE, "not_in_force"),
        };
        Self::new(status, code, with_causes(&error))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::NotNow { .. }
            | Refusal::TooEarly { .. }
            | Refusal::Stale { .. }
            | Refusal::Elsewhere { .. } => "not_now",
            Refusal::Busy { .. } => "busy",
            Refusal::NothingToGoBackTo => "no_previous",
            Refusal::NoWarmStandby => "no_standby",
            Refusal::NothingHealthy => "nothing_healthy",
            Refusal::NeverDeployed => "never_deployed",
            Refusal::InMaintenance => "in_maintenance",
            Refusal::Already { .. } => "already",
        };
        Self::new(StatusCode::CONFLICT, code, refusal.to_string())
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let (status, code) = match error {
            StoreError::Fenced { .. } => (StatusCode::CONFLICT, "fenced"),
            StoreError::TimedOut { .. } | StoreError::Failed { .. } | StoreError::Unreadable { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "database")
            }
        };
        Self::new(status, code, with_causes(&error))
    }
}

impl From<HealthError> for Problem {
    fn from(error: HealthError) -> Self {
        match error {
            HealthError::UnknownApp => Self::not_found("unknown_app", error.to_string()),
            HealthError::NoVersion => Self::not_found("no_version", error.to_string()),
            HealthError::Config(message) => Self::invalid(message),
            HealthError::Engine(error) => error.into(),
        }
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "docker", error.to_string())
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "bad_request", rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Self {
        Self::new(rejection.status(), "bad_request", rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", rejection.body_text())
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
            assert_eq!((problem.status.as_u16(), problem.code), (status, code), "{text}");
            assert!(problem.detail.starts_with(&text));
        }
    }
}
