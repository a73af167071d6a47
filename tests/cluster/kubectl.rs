//! The plugin of kubectl: what it shows to whom, in whose words, and with which exit code.

mod kubeconfig;
mod scene;
mod shows;
mod table;
mod terminal;

use harness::ControlPlane;
use harness::suite::Suite;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "the_plugin_shows_to_each_caller_what_they_may_read",
            shows::callers,
        )
        .test("the_plugin_ends_with_the_codes_of_its_page", table::codes)
        .test("the_plugin_waits_for_a_change", shows::change)
        .test(
            "the_plugin_reads_on_a_loopback_that_changes_nothing",
            shows::loopback,
        )
        .test(
            "the_plugin_names_the_verb_that_a_caller_lacks_for_live_figures",
            shows::verbs,
        )
        .test("the_plugin_asks_the_http_api_with_a_token", shows::server)
        .test(
            "the_plugin_takes_the_kubeconfigs_that_kubectl_takes",
            kubeconfig::taken,
        )
        .test("the_plugin_shows_a_killed_replica_as_it_falls", shows::watch)
        .test(
            "the_plugin_shows_colours_and_new_figures_on_a_terminal",
            terminal::shown,
        )
        .test("the_plugin_watches_on_with_the_next_leader", shows::leader)
}
