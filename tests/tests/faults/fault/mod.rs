//! The rows of the catalog that a scripted Docker can play.

mod addresses;
mod apps;
mod calls;
mod controllers;
mod events;
mod images;
mod play;
mod taken;
