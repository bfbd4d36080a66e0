/**
 * `postern store adopt`: after the store lost revisions of a managed policy, gives it back what this machine remembers, or, with
 * `--accept-loss`, lets every instance follow the store as it is.
 *
 * No instance does either by itself, because whoever can empty a store must not be able to change who gets in. Run it where an instance with
 * the newest mirror runs. Recorded first. Exit status: 0 done, 1 not done for a reason that is printed, 2 could not run.
 */

import type { Command } from 'commander'
import {
  type AdoptionPorts,
  acceptLoss,
  createAcceptedLosses,
  type RememberedHead,
  restoreHistory,
} from '../administration/policy-adoption.ts'
import type { RevisionFacts } from '../administration/policy-history.ts'
import { createRevisionRestoring } from '../administration/policy-restoring.ts'
import { createPolicyRevisions } from '../administration/policy-revisions.ts'
import type { Administration } from '../compose-administration.ts'
import { isPosternError } from '../errors.ts'
import { createLogger } from '../log.ts'
import { type MirroredHistory, mirrorFolder, openPolicyMirror, type PolicyMirror } from '../policy-mirror.ts'
import { administer, type OpenAdministration } from './administer.ts'
import { printJson, printLine } from './print-line.ts'
import { refuse } from './sessions.ts'

export interface StoreParts {
  readonly openAdministration: OpenAdministration
}

interface AdoptOptions {
  readonly config: string
  readonly acceptLoss?: true
  readonly json?: true
}

/** Adds `store`. */
export function registerStore(program: Command, { openAdministration }: StoreParts): void {
  const store = program.command('store').description('the store that instances share')
  store
    .command('adopt')
    .description('after the store lost revisions of the policy: put back what this machine remembers')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('--accept-loss', 'let every instance follow the store as it is instead')
    .option('--json', 'print one JSON object')
    .action((options: AdoptOptions) =>
      administer(options.config, openAdministration, async (administration, { dataDir, policyMode }) => {
        if (policyMode !== 'managed') return refuse('the policy is files: the store has no revisions of it')
        const mirror = openPolicyMirror(mirrorFolder(dataDir))
        const ports = portsOf(administration)
        await (options.acceptLoss === true ? accept(mirror, ports, options) : restore(mirror, ports, options))
      }),
    )
}

function portsOf({ actor, keys, recordFirst, store }: Administration): AdoptionPorts {
  const parts = { store, keys, log: createLogger('warn', 'stderr') }
  const tell = (head: RevisionFacts | undefined) => store.publish({ kind: 'policy', detail: head?.hash ?? '' })
  return {
    // Nothing is published here; what is put back was recorded when it was.
    revisions: createPolicyRevisions({ ...parts, tell, recordFirst: () => Promise.reject(new TypeError('nothing is published here')) }),
    restoring: createRevisionRestoring({ ...parts, tell }),
    losses: createAcceptedLosses(parts),
    by: actor,
    recordFirst,
    tell,
  }
}

async function restore(mirror: PolicyMirror, ports: AdoptionPorts, { json }: AdoptOptions): Promise<void> {
  const remembered = rememberedOf(await mirror.load())
  if (remembered === undefined) return refuse('this machine remembers no revision: run it where an instance ran')
  const adopted = await restoreHistory(remembered, await mirror.loadRevisions(), ports)
  if (adopted.outcome === 'nothing_lost') return refuse('the store has everything that this machine remembers')
  if (adopted.outcome === 'moved_on')
    return refuse('somebody published meanwhile, so nothing was put back; run it again to see what is lost now')
  if (adopted.outcome === 'impossible') return refuse(`${adopted.why}; --accept-loss lets every instance follow the store as it is`)
  const numbers = adopted.revisions.map(({ number }) => number)
  const [first = 0] = numbers
  const last = numbers.at(-1) ?? 0
  const what = first === last ? `revision ${last}` : `revisions ${first} to ${last}`
  console.log(json === true ? printJson({ restored: numbers }) : printLine(`Put back ${what}; revision ${last} is the policy again.`))
}

async function accept(mirror: PolicyMirror, ports: AdoptionPorts, { json }: AdoptOptions): Promise<void> {
  const known = await loadUnlessBroken(mirror)
  const accepted = await acceptLoss(rememberedOf(known === 'broken' ? undefined : known), ports)
  // Not before it is on the record: an instance that knows nothing would follow any store.
  if (known === 'broken') await mirror.forget()
  if (accepted.outcome === 'nothing_lost') return refuse('the store has everything that this machine remembers')
  const { head } = accepted
  const what = head === undefined ? 'it has no policy: the first instance makes one of the seed' : `revision ${head.number} is the policy`
  console.log(
    json === true ? printJson({ accepted: true, revision: head?.number ?? null }) : printLine(`The store is accepted as it is; ${what}.`),
  )
}

function rememberedOf(known: MirroredHistory | undefined): (RememberedHead & { readonly newest: RevisionFacts }) | undefined {
  const [newest] = known?.revisions ?? []
  return known === undefined || newest === undefined ? undefined : { newest, acceptance: known.acceptance }
}

/** What does not hold together keeps an instance from starting; accepting the loss is what ends that. */
async function loadUnlessBroken(mirror: PolicyMirror): Promise<MirroredHistory | 'broken' | undefined> {
  try {
    return await mirror.load()
  } catch (error) {
    if (!isPosternError(error) || error.code !== 'record_unreadable') throw error
    return 'broken'
  }
}
