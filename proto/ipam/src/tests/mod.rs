mod codecs;
pub(crate) mod parts;
mod records;
mod sets;
mod single;
mod story;
mod world;
