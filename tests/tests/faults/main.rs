//! Everything that can go wrong around dockswap, on a scripted Docker: what users expect then, and
//! that the promises hold meanwhile and afterwards.

mod fault;
mod stage;
