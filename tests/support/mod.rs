//! An origin of our own: threaded, keeps connections, counts what it is asked, and answers what a test tells it to.

mod reply;
mod server;

pub(crate) use reply::Reply;
pub(crate) use server::Origin;
