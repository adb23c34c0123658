//! Every C function that sql/ declares, and what it leads to. The list is all there is: a test
//! compares it with sql/.
#![allow(unsafe_code)]

use crate::access::{claims, grants, requests, tokens, visible_rows};
use crate::audit::{head, list as list_records, verify as verify_audit};
use crate::backend::entry::{enter, enter_audit_trigger, enter_protecting_trigger};
use crate::install;
use crate::keys::{list as list_keys, messages, reencrypt, verify};
use crate::lifecycle::{
    blast_radius, check, consumers, create, delete, destroy, extend, generator, list, page, policy,
    purge, read, restore, rollback, rotate,
};
use crate::maintenance::{figures, installation, run};
use crate::outbox::{claim, deliveries, endpoints, finish, redeliver, release, retention};
use pgrx::pg_sys;

/// Defines C functions of Postgres's version-1 calling convention ("C-Language Functions" in the
/// manual) that call a handler.
macro_rules! entry_points {
    ($($symbol:ident / $info:ident => $handler:path,)*) => {
        $(
            /// The calling convention of the function of the same name.
            #[unsafe(no_mangle)]
            pub(crate) extern "C" fn $info() -> &'static pg_sys::Pg_finfo_record {
                const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
                &VERSION_1
            }

            /// Declared in sql/ under the name without `pgs_`.
            ///
            /// # Safety
            /// Called by Postgres alone.
            #[unsafe(no_mangle)]
            pub(crate) unsafe extern "C-unwind" fn $symbol(
                call: pg_sys::FunctionCallInfo,
            ) -> pg_sys::Datum {
                // SAFETY: Postgres calls with the arguments that sql/ declares.
                unsafe { enter(call, $handler) }
            }
        )*
    };
}

entry_points! {
    pgs_create_secret / pg_finfo_pgs_create_secret => create::create_secret,
    pgs_get_secret / pg_finfo_pgs_get_secret => read::get_secret,
    pgs_get_secret_by_name / pg_finfo_pgs_get_secret_by_name => read::get_secret_by_name,
    pgs_get_secret_version / pg_finfo_pgs_get_secret_version => read::get_secret_version,
    pgs_get_secrets / pg_finfo_pgs_get_secrets => read::get_secrets,
    pgs_secret_id / pg_finfo_pgs_secret_id => list::secret_id,
    pgs_list_secrets / pg_finfo_pgs_list_secrets => list::list_secrets,
    pgs_list_secrets_page / pg_finfo_pgs_list_secrets_page => page::list_secrets_page,
    pgs_check_secret / pg_finfo_pgs_check_secret => check::check_secret,
    pgs_secret_versions / pg_finfo_pgs_secret_versions => list::secret_versions,
    pgs_rotate_secret / pg_finfo_pgs_rotate_secret => rotate::rotate_secret,
    pgs_rollback_secret / pg_finfo_pgs_rollback_secret => rollback::rollback_secret,
    pgs_extend_grace / pg_finfo_pgs_extend_grace => extend::extend_grace,
    pgs_end_grace / pg_finfo_pgs_end_grace => destroy::end_grace,
    pgs_delete_secret / pg_finfo_pgs_delete_secret => delete::delete_secret,
    pgs_restore_secret / pg_finfo_pgs_restore_secret => restore::restore_secret,
    pgs_purge_secret / pg_finfo_pgs_purge_secret => purge::purge_secret,
    pgs_register_consumer / pg_finfo_pgs_register_consumer => consumers::register_consumer,
    pgs_unregister_consumer / pg_finfo_pgs_unregister_consumer => consumers::unregister_consumer,
    pgs_run_maintenance / pg_finfo_pgs_run_maintenance => run::run_maintenance,
    pgs_confirm_restored / pg_finfo_pgs_confirm_restored => installation::confirm_restored,
    pgs_blast_radius / pg_finfo_pgs_blast_radius => blast_radius::blast_radius,
    pgs_preview / pg_finfo_pgs_preview => blast_radius::preview,
    pgs_set_policy / pg_finfo_pgs_set_policy => policy::set_policy,
    pgs_project_policy / pg_finfo_pgs_project_policy => policy::project_policy,
    pgs_set_rotation / pg_finfo_pgs_set_rotation => generator::set_rotation,
    pgs_create_endpoint / pg_finfo_pgs_create_endpoint => endpoints::create_endpoint,
    pgs_list_endpoints / pg_finfo_pgs_list_endpoints => endpoints::list_endpoints,
    pgs_get_endpoint / pg_finfo_pgs_get_endpoint => endpoints::get_endpoint,
    pgs_update_endpoint / pg_finfo_pgs_update_endpoint => endpoints::update_endpoint,
    pgs_delete_endpoint / pg_finfo_pgs_delete_endpoint => endpoints::delete_endpoint,
    pgs_rotate_endpoint_secret / pg_finfo_pgs_rotate_endpoint_secret => endpoints::rotate_endpoint_secret,
    pgs_ping_endpoint / pg_finfo_pgs_ping_endpoint => endpoints::ping_endpoint,
    pgs_list_deliveries / pg_finfo_pgs_list_deliveries => deliveries::list_deliveries,
    pgs_redeliver / pg_finfo_pgs_redeliver => redeliver::redeliver,
    pgs_sweep_deliveries / pg_finfo_pgs_sweep_deliveries => retention::sweep_deliveries,
    pgs_claim_deliveries / pg_finfo_pgs_claim_deliveries => claim::claim_deliveries,
    pgs_finish_delivery / pg_finfo_pgs_finish_delivery => finish::finish_delivery,
    pgs_release_delivery / pg_finfo_pgs_release_delivery => release::release_delivery,
    pgs_grant_project / pg_finfo_pgs_grant_project => grants::grant_project,
    pgs_revoke_project / pg_finfo_pgs_revoke_project => grants::revoke_project,
    pgs_project_grants / pg_finfo_pgs_project_grants => grants::project_grants,
    pgs_create_token / pg_finfo_pgs_create_token => tokens::create_token,
    pgs_revoke_token / pg_finfo_pgs_revoke_token => tokens::revoke_token,
    pgs_list_tokens / pg_finfo_pgs_list_tokens => tokens::list_tokens,
    pgs_token_id / pg_finfo_pgs_token_id => tokens::token_id,
    pgs_authenticate / pg_finfo_pgs_authenticate => tokens::authenticate,
    pgs_authenticate_subject / pg_finfo_pgs_authenticate_subject => claims::authenticate_subject,
    pgs_pre_request / pg_finfo_pgs_pre_request => claims::pre_request,
    pgs_begin_request / pg_finfo_pgs_begin_request => requests::begin_request,
    pgs_end_request / pg_finfo_pgs_end_request => requests::end_request,
    pgs_service_figures / pg_finfo_pgs_service_figures => figures::service_figures,
    pgs_may_list / pg_finfo_pgs_may_list => visible_rows::may_list,
    pgs_list_audit / pg_finfo_pgs_list_audit => list_records::list_audit,
    pgs_denied_reads / pg_finfo_pgs_denied_reads => list_records::denied_reads,
    pgs_pgp_keys / pg_finfo_pgs_pgp_keys => list_keys::pgp_keys,
    pgs_reencrypt_secrets / pg_finfo_pgs_reencrypt_secrets => reencrypt::reencrypt_secrets,
    pgs_verify_secrets / pg_finfo_pgs_verify_secrets => verify::verify_secrets,
    pgs_pgp_encrypt / pg_finfo_pgs_pgp_encrypt => messages::pgp_encrypt,
    pgs_pgp_decrypt / pg_finfo_pgs_pgp_decrypt => messages::pgp_decrypt,
    pgs_armor / pg_finfo_pgs_armor => messages::armor,
    pgs_dearmor / pg_finfo_pgs_dearmor => messages::dearmor,
    pgs_verify_audit / pg_finfo_pgs_verify_audit => verify_audit::verify_audit,
    pgs_export_audit_head / pg_finfo_pgs_export_audit_head => head::export_audit_head,
    pgs_assert_installable / pg_finfo_pgs_assert_installable => install::assert_installable,
}

/// The calling convention of the audit trigger.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pg_finfo_pgs_audit_change() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The audit trigger, declared in sql/40_audit.sql.
///
/// # Safety
/// Called by Postgres alone.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C-unwind" fn pgs_audit_change(
    call: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: Postgres calls it as a trigger, or it refuses.
    unsafe { enter_audit_trigger(call) }
}

/// The calling convention of the trigger that protects the audit.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pg_finfo_pgs_protect_audit() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The trigger that protects the audit, declared in sql/41_chain.sql.
///
/// # Safety
/// Called by Postgres alone.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C-unwind" fn pgs_protect_audit(
    call: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: Postgres calls it as a trigger, or it refuses.
    unsafe { enter_protecting_trigger(call) }
}
