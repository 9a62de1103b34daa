//! One suite, on SQLite (a file a test) and on PostgreSQL (a throw-away cluster, a database a
//! test).

#![allow(clippy::unwrap_used, reason = "tests")]

mod audits;
mod backups;
mod batches;
mod cluster;
mod commits;
mod fault;
mod files;
mod fixtures;
mod histories;
mod keys;
mod leases;
mod lost_answers;
mod pruning;
mod restores;
mod scars;
mod schemas;
mod story;
mod tokens;

use cluster::Cluster;
use fixtures::Place;
pub(crate) use fixtures::plan;

/// Every case becomes a test on SQLite; one test runs them all on PostgreSQL, since a cluster
/// takes a second to make.
macro_rules! suite {
    ($($room:ident: $($case:ident)+;)+) => {
        mod on_sqlite {
            $($(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$room::$case(&super::Place::sqlite()).await;
                }
            )+)+
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn on_postgres() {
            let Some(cluster) = Cluster::start() else { return };
            $($(
                println!("on_postgres: {}", stringify!($case));
                // On the heap: all cases in one future are more than a thread's stack.
                Box::pin($room::$case(&Place::postgres(&cluster, stringify!($case)).await)).await;
            )+)+
        }
    };
}

suite! {
    schemas:
        the_four_tables_have_exactly_the_columns_of_the_contract
        events_cannot_be_changed_or_removed
        foreign_keys_hold
        only_known_statuses_colors_and_times_are_taken
        what_goes_up_comes_down
        a_newer_schema_is_refused
        a_reader_refuses_an_older_schema
        two_migrators_at_once_do_it_once
        every_query_has_its_index;
    commits:
        a_transition_is_written_whole
        the_machine_comes_back_as_it_was_and_replays
        a_conflict_writes_nothing
        a_transition_that_fails_writes_nothing_and_harms_no_other
        a_dropped_transaction_leaves_nothing
        many_apps_commit_at_once
        a_caller_that_goes_away_leaves_nothing_half_done
        a_call_ends_by_its_deadline
        a_refusal_is_an_event_and_nothing_else
        what_an_app_said_is_taken_even_with_a_nul
        an_unreadable_machine_is_named
        a_group_shares_a_transaction;
    batches:
        a_group_writes_what_one_by_one_would
        one_that_fails_fails_its_group_and_nothing_is_left;
    pruning:
        what_is_left_replays_and_what_is_needed_stays
        what_is_young_or_pinned_stays
        what_orders_have_left_outlives_the_deployment_that_they_began
        nothing_goes_by_what_was_decided_for_another_state
        only_what_a_checkpoint_stands_for_can_be_removed;
    tokens:
        a_token_comes_back_as_it_was_made
        a_name_is_one_tokens_until_that_is_revoked
        tokens_are_listed_newest_first
        a_lost_answer_about_a_token_is_looked_up
        only_hashes_and_known_roles_are_taken;
    audits:
        an_order_is_written_with_what_it_leads_to
        a_request_has_one_row
        the_audit_cannot_be_changed_or_removed
        the_audit_is_listed_by_app_and_by_actor
        no_token_gets_into_the_audit
        a_lost_answer_about_an_order_is_looked_up
        a_project_goes_when_nothing_of_it_is_in_service
        a_lost_answer_about_a_grouped_order_is_its_own;
    leases:
        a_second_controller_is_refused_and_told_of_the_first
        whoever_was_replaced_writes_nothing
        a_reader_reads_beside_the_controller_and_cannot_write;
    keys:
        a_key_is_taken_once_and_keeps_its_answer
        of_many_at_once_one_is_fresh
        keys_are_forgotten_after_a_day;
    histories:
        bytes_come_back_as_they_went_in
        a_file_that_goes_back_is_a_version_of_its_own
        lists_come_in_pages_newest_first
        events_are_followed_in_the_order_of_their_commits
        times_are_text_in_the_order_of_time
        records_of_an_app_are_one_instant
        a_sound_database_has_nothing_to_complain_of
        nothing_typed_becomes_sql;
}
