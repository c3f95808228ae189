mod codecs;
mod single;
mod story;
mod world;
