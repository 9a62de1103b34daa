//! The rows of the catalog that a scripted Docker can play.

mod play;
