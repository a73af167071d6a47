use harness::ControlPlane;
use harness::suite::Suite;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
}
