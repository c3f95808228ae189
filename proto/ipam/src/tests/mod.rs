mod codecs;
pub(crate) mod parts;
mod single;
mod story;
mod world;
