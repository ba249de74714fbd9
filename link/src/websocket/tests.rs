mod frames;
mod upgrading;
