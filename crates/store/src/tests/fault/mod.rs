//! What goes wrong with a database, each as often as is cheap: the trials are counted.

mod busy;
mod damage;
mod full;
mod gone;
mod power;
mod rivals;
