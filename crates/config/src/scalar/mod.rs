//! The small languages inside of single values: text in, value or advice out. They must not know
//! where in a file a text stands.

pub(crate) mod duration;
pub(crate) mod host;
pub(crate) mod image;
pub(crate) mod quantity;
pub(crate) mod status;
pub(crate) mod template;
