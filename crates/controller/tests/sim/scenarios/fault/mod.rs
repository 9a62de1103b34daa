//! Rows of the catalog's table of faults that the simulation counts, each a module named after its row.

mod clk;
mod ops_race;
