/**
 * What has to be typed before a policy is published, because it would shut out people who work now: everybody who used an app in the last 24
 * hours, every admin, or the author.
 *
 * Every instance hands in who was let in where by its own trail (`gates-uses.ts`), within a moment; what was handed in is kept for a few
 * seconds, and each policy is judged on it anew (`gates-verdict.ts`). Reading part of a day can only close more gates, never fewer, for
 * what it tells of everybody is told of those who were seen. What nobody could tell, of all or of one app, or of the console, is a gate of its
 * own: unknown is no yes.
 */

import type { Anchors } from '../audit/chain.ts'
import type { PolicyDocument } from '../policy/document.ts'
import type { Asker } from './asker.ts'
import type { ConsoleRoleSettings } from './console-roles.ts'
import type { Errands } from './errands.ts'
import { type AdminVisit, type ConsoleStanding, isConsoleTouched, judgeConsole } from './gates-console.ts'
import { subjectKey } from './gates-uses.ts'
import { type AppStanding, findTouchedApps, type GateQuestion } from './gates-verdict.ts'
import type { PublishingParts } from './policy-publishing.ts'
import type { Gate } from './policy-publishing-answers.ts'
import { donePartsOf, type SilentInstance, silentWithChains } from './trail-desk.ts'

/** Typed where every admin would be shut out. */
export const allAdminsWord = 'all admins'
/** Typed where the author would be. */
export const ownAccessWord = 'yes, my own access'
/** Typed where something could not be found out. */
export const uncheckedWord = 'yes, unchecked'

/** How far back. */
export const gatesLookBackMs = 24 * 3_600_000

export interface Examined {
  readonly gates: readonly Gate[]
  /** What could not be told. */
  readonly notes: readonly string[]
}

export interface Gates {
  /** Rejects with `session_store_unavailable` when the store does. */
  examine(document: PolicyDocument, asker: Asker): Promise<Examined>
  /** For publishing. A bundle without a document is refused there. */
  readonly find: PublishingParts['findGates']
}

/** What an instance hands in. */
export interface GatesPart {
  /** As `packUses` writes it. */
  readonly uses: string
  readonly isComplete: boolean
  readonly visits: readonly AdminVisit[]
  /** Those of its folder. */
  readonly chains: readonly string[]
}

export const gatesErrand = 'policy.recent_uses'

export interface GatesParts {
  readonly errands: Pick<Errands, 'ask'>
  /** What the store remembers of chains. */
  readonly anchors: Pick<Anchors, 'list'>
  /** Epoch milliseconds. */
  readonly now: () => number
  readonly inForce: () => PolicyDocument
  readonly settings: ConsoleRoleSettings
  /** Decides uses again, off the thread that serves requests where there are many. */
  readonly judge: (question: GateQuestion, signal: AbortSignal) => Promise<readonly AppStanding[]>
  readonly monotonicNow: () => number
  /** For all instances, and for judging what they hand in. */
  readonly timeouts?: { readonly askMs: number; readonly judgeMs: number }
}

/** Somebody waits: two seconds together. */
const timeoutsByDefault = { askMs: 1_300, judgeMs: 700 }
/** A page is looked at, and published from, in a row. */
const keepMs = 10_000
/** Nobody types more names. */
const mostGates = 10

interface Gathered {
  readonly uses: readonly string[]
  readonly visits: readonly AdminVisit[]
  readonly isComplete: boolean
  readonly answered: number
  readonly silent: readonly SilentInstance[]
}

/** Gates over the trails of all instances. */
export function createGates(parts: GatesParts): Gates {
  const { anchors, errands, inForce, judge, monotonicNow, now, settings, timeouts = timeoutsByDefault } = parts
  let kept: { readonly until: number; readonly gathered: Promise<Gathered> } | undefined

  async function gather(by: string): Promise<Gathered> {
    const state = await errands.ask<GatesPart>(gatesErrand, {}, by, timeouts.askMs)
    const done = donePartsOf(state).map(({ part }) => part)
    return {
      uses: done.map(({ uses }) => uses),
      visits: done.flatMap(({ visits }) => visits),
      isComplete: done.every(({ isComplete }) => isComplete),
      answered: done.length,
      silent: await silentWithChains(state, anchors, now() - gatesLookBackMs),
    }
  }

  async function gatherOnce(by: string): Promise<Gathered> {
    const at = monotonicNow()
    if (kept !== undefined && kept.until > at) return await kept.gathered
    const mine = { until: at + keepMs, gathered: gather(by) }
    kept = mine
    try {
      const gathered = await mine.gathered
      // Who was silent once is asked again.
      if (gathered.silent.length > 0 && kept === mine) kept = undefined
      return gathered
    } catch (error) {
      if (kept === mine) kept = undefined
      throw error
    }
  }

  async function examine(document: PolicyDocument, asker: Asker): Promise<Examined> {
    const before = inForce()
    if (before.version === document.version) return { gates: [], notes: [] }
    const gathered = await gatherOnce(asker.actor)
    if (gathered.answered === 0) return nothingKnown
    const own = asker.subject === undefined ? undefined : subjectKey({ kind: 'person', ...asker.subject })
    const visits = newestVisits(gathered.visits)
    const question = { uses: gathered.uses, before, after: document, settings, knownAdmins: new Set(visits.map(keyOf)), own }
    let standings: readonly AppStanding[]
    try {
      standings = await judge(question, AbortSignal.timeout(timeouts.judgeMs))
    } catch (error) {
      if ((error as Error).name !== 'TimeoutError') throw error
      return nothingKnown
    }
    const onConsole = await judgeConsole(visits, settings, { before, after: document, own })
    const named = (id: string) => before.apps.find((app) => app.id === id)?.name ?? id
    const words = { named }
    return {
      gates: [
        ...appGates(standings, words),
        ...adminGates(standings, onConsole, words),
        ...ownGates(standings, onConsole, words),
        ...uncheckedGates([
          ...untoldApps(gathered, { touched: findTouchedApps(before, document), standings }, words),
          ...(isConsoleTouched(before, document, settings) ? untoldConsole(onConsole, asker) : []),
        ]),
      ],
      notes: notesOf(standings, gathered, words),
    }
  }

  return {
    examine,
    find: async ({ document }, asker) => (document === undefined ? [] : (await examine(document, asker)).gates),
  }
}

const nothingKnown: Examined = {
  gates: [{ word: uncheckedWord, message: 'whom this would shut out could not be found out in time' }],
  notes: ['no instance could tell in time what was used in the last 24 hours'],
}

interface Words {
  readonly named: (app: string) => string
}

/** Nobody who used it is kept, and of some it is certain. */
function isEmptied({ kept, refused }: Pick<AppStanding, 'kept' | 'refused'>): boolean {
  return kept === 0 && refused > 0
}

function appGates(standings: readonly AppStanding[], { named }: Words): readonly Gate[] {
  const emptied = standings.filter(isEmptied)
  if (emptied.length <= mostGates) {
    return emptied.map(({ app, refused, unclear }) => {
      const more = unclear === 0 ? '' : `, and of ${unclear} more it cannot be told`
      const who = refused === 1 ? 'the only one' : `all ${refused}`
      return { word: named(app), message: `${who} who used ${named(app)} in the last 24 hours would be refused${more}` }
    })
  }
  const word = `everybody on ${emptied.length} apps`
  return [{ word, message: `everybody who used ${listed(emptied, named)} in the last 24 hours would be refused there` }]
}

function adminGates(standings: readonly AppStanding[], { kept, refused }: ConsoleStanding, { named }: Words): readonly Gate[] {
  const without = standings.filter((one) => !isEmptied(one) && isEmptied(one.admins))
  const said = [
    ...(isEmptied({ kept, refused }) ? ['every admin who was here in the last 24 hours would lose the console'] : []),
    ...(without.length === 0 ? [] : [`every admin who used ${listed(without, named)} in the last 24 hours would be refused there`]),
  ]
  return said.length === 0 ? [] : [{ word: allAdminsWord, message: said.join('; ') }]
}

function ownGates(standings: readonly AppStanding[], { own }: ConsoleStanding, { named }: Words): readonly Gate[] {
  const lost = standings.filter((one) => one.own === 'refused')
  const said = [
    ...(own === 'refused' ? ['you would lose the console yourself'] : []),
    ...(lost.length === 0 ? [] : [`you would lose ${listed(lost, named)}, used by you in the last 24 hours`]),
  ]
  return said.length === 0 ? [] : [{ word: ownAccessWord, message: said.join('; ') }]
}

/** One phrase for all that is not known. */
function uncheckedGates(untold: readonly string[]): readonly Gate[] {
  return untold.length === 0 ? [] : [{ word: uncheckedWord, message: `it could not be checked ${untold.join(', nor ')}` }]
}

/** Of an app that the change touches nobody was seen, and not everything was looked at. */
function untoldApps(
  { isComplete, silent }: Gathered,
  { standings, touched }: { readonly standings: readonly AppStanding[]; readonly touched: ReadonlySet<string> },
  { named }: Words,
): readonly string[] {
  if (isComplete && silent.length === 0) return []
  const seen = new Set(standings.filter(({ kept, refused }) => kept + refused > 0).map(({ app }) => app))
  const unseen = [...touched].filter((app) => !seen.has(app)).map((app) => ({ app }))
  if (unseen.length === 0) return []
  const [first] = silent
  const more = silent.length > 1 ? ` and of ${silent.length - 1} more` : ''
  const why =
    first === undefined ? 'not all of the last 24 hours was looked at' : `what was used through ${first.instance}${more} is not known`
  return [`whether anybody who used ${listed(unseen, named)} in the last 24 hours keeps it (${why})`]
}

/** The console rests on levels that change, and nobody is known who keeps it, or the author is not. */
function untoldConsole({ kept, own, refused }: ConsoleStanding, { subject }: Asker): readonly string[] {
  const author = subject === undefined ? 'whoever uses this token keeps the console' : 'you keep the console yourself'
  return [
    ...(kept + refused > 0 ? [] : ['whether any admin keeps the console (none was seen there since the last start)']),
    ...(own === undefined ? [`whether ${author}`] : []),
  ]
}

function notesOf(standings: readonly AppStanding[], { isComplete, silent }: Gathered, { named }: Words): readonly string[] {
  const untold = standings.filter(({ kept, refused, unclear }) => kept === 0 && refused === 0 && unclear > 0)
  const ownUntold = standings.filter(({ own }) => own === 'unclear')
  const why = [...untold, ...ownUntold].find((one) => one.why !== undefined)?.why
  return [
    ...(untold.length === 0 ? [] : [`whether anybody keeps ${listed(untold, named)} cannot be told: ${why}`]),
    ...(ownUntold.length === 0 ? [] : [`whether you keep ${listed(ownUntold, named)} cannot be told: ${why}`]),
    ...(isComplete ? [] : ['not all of the last 24 hours was looked at, but the newest of it']),
    ...silent.map((one) => `who used what through ${one.instance} is not known: ${one.why}`),
  ]
}

function listed(standings: readonly Pick<AppStanding, 'app'>[], named: Words['named']): string {
  const first = standings.slice(0, 5).map(({ app }) => named(app))
  return `${first.join(', ')}${standings.length > first.length ? ` and ${standings.length - first.length} more` : ''}`
}

/** Of each admin the newest, of whichever instance. */
function newestVisits(visits: readonly AdminVisit[]): readonly AdminVisit[] {
  const newest = new Map<string, AdminVisit>()
  for (const visit of visits.toSorted((a, b) => a.at - b.at)) newest.set(keyOf(visit), visit)
  return [...newest.values()]
}

function keyOf({ facts: { subject } }: AdminVisit): string {
  return subject.kind === 'person' ? subjectKey(subject) : ''
}
