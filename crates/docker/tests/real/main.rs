//! The engine on real Docker. Needs one that answers (`scripts/ensure-docker`) and the demo images
//! (`scripts/build-demo-images`).

mod evidence;
mod images;
mod life_cycle;
mod stage;
mod strangers;
