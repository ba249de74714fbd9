//! One suite for every backend: each test is run on a store in memory and on one in a file.

mod admin;
mod crash;
mod delivery;
mod fixture;
mod groups;
mod lifecycle;
mod medium;
mod model;
mod moves;
mod opening;
mod operators;
mod population;
mod power;
mod race;
mod records;
mod slots;
mod submit;
mod walk;

/// Makes a test of each function, once for each backend.
macro_rules! for_each_backend {
    ($($test:ident),+ $(,)?) => {
        mod memory {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(&$crate::store::suite::fixture::Bench::in_memory().await).await;
                }
            )+
        }
        mod on_disk {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(&$crate::store::suite::fixture::Bench::on_disk().await).await;
                }
            )+
        }
    };
}
pub(super) use for_each_backend;

/// The same, on two threads.
macro_rules! for_each_backend_in_parallel {
    ($($test:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn in_memory() {
                $test(&$crate::store::suite::fixture::Bench::in_memory().await).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_disk() {
                $test(&$crate::store::suite::fixture::Bench::on_disk().await).await;
            }
        )+
    };
}
pub(super) use for_each_backend_in_parallel;
