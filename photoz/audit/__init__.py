"""Does a photo-z catalogue hold what it must: every source once, in its pixel, unchanged, with metadata that agrees."""

from photoz.audit.findings import CHECKS, Finding
from photoz.audit.ids import audit_ids
from photoz.audit.partition import PartitionAudit, audit_partition
from photoz.audit.plan import AuditTask, plan_audit
from photoz.audit.summary import Audited, AuditReport, format_audit, summarize_audit

__all__ = [
    "CHECKS",
    "AuditReport",
    "AuditTask",
    "Audited",
    "Finding",
    "PartitionAudit",
    "audit_ids",
    "audit_partition",
    "format_audit",
    "plan_audit",
    "summarize_audit",
]
