//! Who is let in where: every path and method of the API, for every role, everywhere and in a project. The table here is
//! not the product's: it says what must be so.

#[cfg(feature = "api")]
mod audit;
#[cfg(feature = "api")]
mod projects;
#[cfg(feature = "api")]
mod stage;
#[cfg(feature = "api")]
mod table;
#[cfg(feature = "api")]
mod tokens;
