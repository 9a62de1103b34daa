//! The codes of problems: what programs go by. A code is stable: it is never renamed, and never comes
//! to mean something else. `docs/api.md` lists them as this file does.

use axum::http::StatusCode;

/// The kinds of problems, with the status, the code and the title of each.
macro_rules! codes {
    ($($(#[$doc:meta])+ $name:ident = $status:ident, $code:literal, $title:literal;)+) => {
        /// What kind of problem it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Code {
            $($(#[$doc])+ $name,)+
        }

        impl Code {
            /// All of them.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)+];

            /// The HTTP status that goes with it.
            pub(crate) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// As it is written.
            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The same for people, whatever the details are.
            pub(crate) const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

codes! {
    /// A path or a header that cannot be read.
    BadRequest = BAD_REQUEST, "bad_request", "The request cannot be read";
    /// A body that is no JSON.
    BadJson = BAD_REQUEST, "bad_json", "The body is no JSON";
    /// A key that is no key.
    BadKey = BAD_REQUEST, "bad_idempotency_key", "The Idempotency-Key cannot be used";
    /// Nobody knows who asks.
    Unauthenticated = UNAUTHORIZED, "unauthenticated", "The request does not say who asks";
    /// Who asks may not.
    Forbidden = FORBIDDEN, "forbidden", "The caller may not do this";
    /// A page of another site.
    CrossSite = FORBIDDEN, "cross_site", "A page of another site asks";
    /// No such path.
    NoSuchPath = NOT_FOUND, "no_such_path", "The API has no such path";
    /// No app of that name.
    UnknownApp = NOT_FOUND, "unknown_app", "There is no such app";
    /// No deployment of that id.
    UnknownDeployment = NOT_FOUND, "unknown_deployment", "There is no such deployment";
    /// That deployment is on record, and its image is given up.
    Pruned = NOT_FOUND, "pruned", "That deployment was pruned";
    /// No version of that id.
    UnknownConfig = NOT_FOUND, "unknown_config", "There is no such version of a file";
    /// No token of that name or id.
    UnknownToken = NOT_FOUND, "unknown_token", "There is no such token";
    /// No project of that name.
    UnknownProject = NOT_FOUND, "unknown_project", "There is no such project";
    /// No container to ask.
    NoContainer = NOT_FOUND, "no_container", "There is no such container";
    /// No version in that color.
    NoVersion = NOT_FOUND, "no_version", "There is no version in that color";
    /// No earlier success.
    NoPrevious = NOT_FOUND, "no_previous", "There is nothing to go back to";
    /// No standby in that color.
    NoStandby = NOT_FOUND, "no_standby", "There is no standby in that color";
    /// A token has that name.
    NameTaken = CONFLICT, "name_taken", "There is a token of that name";
    /// An app of the project is in service.
    ProjectInService = CONFLICT, "project_in_service", "An app of the project is in service";
    /// To which project an app belongs cannot be told.
    ProjectUnknown = CONFLICT, "project_unknown", "An app's project is not known";
    /// The path is known, and not the method.
    NoSuchMethod = METHOD_NOT_ALLOWED, "no_such_method", "The path has no such method";
    /// Another operation holds the app.
    Busy = CONFLICT, "busy", "Another operation is in flight";
    /// The state does not allow it.
    NotNow = CONFLICT, "not_now", "The app's state does not allow it";
    /// It is so already.
    Already = CONFLICT, "already", "It is so already";
    /// Nothing could take the traffic.
    NothingHealthy = CONFLICT, "nothing_healthy", "Nothing healthy could take the traffic";
    /// The app never was in service.
    NeverDeployed = CONFLICT, "never_deployed", "The app was never deployed";
    /// Requests are answered 503 by order.
    InMaintenance = CONFLICT, "in_maintenance", "The app is in maintenance";
    /// Its versions never run side by side.
    RunsAlone = CONFLICT, "runs_alone", "The app's versions never run side by side";
    /// Another app has the route.
    RouteTaken = CONFLICT, "route_taken", "Another app has the route";
    /// What served before is not healthy.
    StandbyUnfit = CONFLICT, "standby_unfit", "The previous version is not healthy";
    /// That deployment had no image.
    NeverRan = CONFLICT, "never_ran", "That deployment never ran";
    /// A newer order took its place.
    Superseded = CONFLICT, "superseded", "A newer version took its place";
    /// Another controller has the database.
    Fenced = CONFLICT, "fenced", "Another controller has taken over";
    /// The order with this key is being carried out.
    KeyRunning = CONFLICT, "idempotency_running", "The order with this key is being carried out";
    /// The answer under this key held a secret.
    AnswerNotKept = CONFLICT, "answer_not_kept", "The order was carried out, and its answer is not kept";
    /// A body beyond the limit.
    TooLong = PAYLOAD_TOO_LARGE, "body_too_long", "The body is too long";
    /// A body of another kind.
    NotJson = UNSUPPORTED_MEDIA_TYPE, "not_json", "The body is not said to be JSON";
    /// The host is not one of the API's.
    Misdirected = MISDIRECTED_REQUEST, "misdirected", "The request is for another host";
    /// A parameter that is unknown, or has a value that is none.
    BadParameter = UNPROCESSABLE_ENTITY, "bad_parameter", "A query parameter cannot be used";
    /// JSON with other fields or values than the order has.
    BadOrder = UNPROCESSABLE_ENTITY, "bad_order", "The order cannot be understood";
    /// A file, or a version of one, that cannot be used.
    Invalid = UNPROCESSABLE_ENTITY, "invalid", "The app's file cannot be used";
    /// A text that is no image.
    InvalidImage = UNPROCESSABLE_ENTITY, "invalid_image", "That is no image";
    /// A pause beyond its bounds.
    InvalidPause = UNPROCESSABLE_ENTITY, "invalid_pause", "That is no pause";
    /// A page beyond its bounds.
    PageTooLong = UNPROCESSABLE_ENTITY, "page_too_long", "The page is too long";
    /// A name, a grant or an expiry that is none.
    InvalidToken = UNPROCESSABLE_ENTITY, "invalid_token", "The token cannot be made so";
    /// The app has no valid file.
    NothingToDeploy = UNPROCESSABLE_ENTITY, "nothing_to_deploy", "There is nothing to deploy";
    /// The key was used for another order.
    KeyMismatch = UNPROCESSABLE_ENTITY, "idempotency_mismatch", "The key was used for another order";
    /// Too many requests, or too many of nobody.
    TooMany = TOO_MANY_REQUESTS, "too_many_requests", "There were too many requests";
    /// A mistake of the controller's own.
    BrokeOff = INTERNAL_SERVER_ERROR, "broke_off", "The controller broke off";
    /// The database does not answer.
    Database = SERVICE_UNAVAILABLE, "database", "The database failed";
    /// Docker does not answer.
    Docker = SERVICE_UNAVAILABLE, "docker", "Docker failed";
    /// On record, and the proxy has not taken it yet.
    NotInForce = SERVICE_UNAVAILABLE, "not_in_force", "On record, and not in force yet";
    /// The system gives no random numbers.
    NoRandomness = SERVICE_UNAVAILABLE, "no_randomness", "The system gives no random numbers";
    /// The controller ends.
    ShuttingDown = SERVICE_UNAVAILABLE, "shutting_down", "The controller is ending";
    /// Not in time.
    Late = GATEWAY_TIMEOUT, "late", "It was not done in time";
}

#[cfg(test)]
mod tests {
    use super::Code;
    use std::collections::BTreeSet;

    /// The rows of the table in `docs/api.md`: code, status, title.
    #[test]
    fn the_document_lists_every_code() {
        let document = include_str!("../../../../docs/api.md");
        let written: BTreeSet<String> = document
            .lines()
            .filter(|line| {
                line.starts_with("| `") && line.split('|').nth(2).is_some_and(|cell| cell.trim().len() == 3)
            })
            .map(|line| line.split('|').skip(1).take(3).map(str::trim).collect::<Vec<_>>().join(" "))
            .collect();
        let row = |code: &Code| format!("`{}` {} {}", code.as_str(), code.status().as_u16(), code.title());
        let real: BTreeSet<String> = Code::ALL.iter().map(row).collect();
        assert_eq!(real.len(), Code::ALL.len(), "no code is there twice");
        assert_eq!(written, real);
    }
}
