/**
 * Verifies the trail of an instance with the command that an auditor would use.
 */

import { dirname, join } from 'node:path'
import { type Rig, runCommand } from './rig.ts'

/** What `postern audit verify --json` says of one chain. */
export interface VerifiedChain {
  readonly chain: string
  readonly lines: number
  readonly segments: number
  readonly firstSeq: number
  readonly lastSeq: number
  readonly signedThrough: number
  readonly anchored: string
  readonly findings: readonly Readonly<Record<string, unknown>>[]
}

/** The verdict: exit status 0 says that all chains hold. */
export interface Verification {
  readonly code: number | null
  readonly chains: readonly VerifiedChain[]
  readonly text: string
}

/** The file that an instance of the rig was started with. */
export function configurationFileOf(rig: Rig, instance = 0): string {
  return join(dirname(rig.policyFile), `postern-${instance}.yaml`)
}

/** Runs `postern audit verify` over everything in `data_dir/audit` of an instance. */
export async function verifyAudit(rig: Rig, instance = 0): Promise<Verification> {
  const { code, stderr, stdout } = await runCommand(['audit', 'verify', '--json', '--config', configurationFileOf(rig, instance)])
  const isAnswer = stdout.trimStart().startsWith('{')
  const chains = isAnswer ? (JSON.parse(stdout) as { readonly chains: readonly VerifiedChain[] }).chains : []
  return { code, chains, text: `${stdout}${stderr}` }
}
