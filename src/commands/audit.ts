/**
 * `postern audit`: the trail as evidence. Each of its commands is a file of its own.
 */

import type { Command } from 'commander'
import { registerAuditExport } from './audit-export.ts'
import { type AuditPruneParts, registerAuditPrune } from './audit-prune.ts'
import type { AuditReadParts } from './audit-read.ts'
import { registerAuditSearch } from './audit-search.ts'
import { type AuditVerifyParts, registerAuditVerify } from './audit-verify.ts'

export type AuditParts = AuditReadParts & AuditVerifyParts & AuditPruneParts

/** Adds `audit verify`, `search`, `export` and `prune`. */
export function registerAudit(program: Command, parts: AuditParts): void {
  const audit = program.command('audit').description('the audit trail: verify it, search it, hand it on, prune it')
  registerAuditVerify(audit, parts)
  registerAuditSearch(audit, parts)
  registerAuditExport(audit, parts)
  registerAuditPrune(audit, parts)
}
