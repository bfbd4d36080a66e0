/**
 * The words that have to be typed before something is published that would shut people out: a field each, with what would happen.
 *
 * What a word stands for is found anew at every attempt, by whoever publishes; here it is only asked for. A word that was typed right stays, one
 * that was not is said at its field. Words are names of apps, chosen by whoever writes the policy.
 */

import type { Refused } from '../operations/operation.ts'

export interface Gate {
  readonly word: string
  readonly message: string
}

export interface GateField extends Gate {
  /** What stands in the field. */
  readonly typed: string
  readonly problem: string | undefined
}

/** What a form said of gates: the words that it asked for, and what was typed for each, in the same order. */
export interface TypedGates {
  readonly asked: readonly string[]
  readonly typed: readonly string[]
}

export const noGates: TypedGates = { asked: [], typed: [] }

/** As many as an operation takes. */
const mostGates = 200

/** Reads them from a form. */
export function readGates(form: URLSearchParams): TypedGates {
  return {
    asked: form.getAll('gate').slice(0, mostGates),
    typed: form
      .getAll('confirm')
      .slice(0, mostGates)
      .map((word) => word.trim().slice(0, 200)),
  }
}

/** For the operation: what was typed, and nothing that was not. */
export function confirmationsOf({ typed }: TypedGates): readonly string[] {
  return typed.filter((word) => word !== '')
}

/** The fields: of the gates that are known, and of those that a refusal named. */
export function describeGates(known: readonly Gate[], refusal: Refused | undefined, { asked, typed }: TypedGates): readonly GateField[] {
  const closed = gatesOf(refusal)
  const gates = new Map([...known, ...closed].map((gate) => [gate.word, gate]))
  // Typed right before: it is asked for again with the rest.
  for (const [index, word] of asked.entries()) {
    if (!gates.has(word) && typed[index] === word && closed.length > 0) gates.set(word, { word, message: 'You confirmed this.' })
  }
  return [...gates.values()].slice(0, mostGates).map(({ message, word }) => {
    const at = asked.indexOf(word)
    const given = at === -1 ? '' : (typed[at] ?? '')
    const isClosed = closed.some((gate) => gate.word === word)
    return {
      word,
      message: sentence(message),
      typed: given === word ? given : '',
      problem: at !== -1 && isClosed ? problemOf(given) : undefined,
    }
  })
}

function problemOf(given: string): string {
  return given === '' ? 'Type the word above to go on.' : 'This is not the word. Type it exactly as it stands above.'
}

function gatesOf(refusal: Refused | undefined): readonly Gate[] {
  const gates: unknown = refusal?.problem === 'confirmation_needed' ? refusal.detail?.['gates'] : undefined
  if (!Array.isArray(gates)) return []
  return (gates as readonly unknown[]).flatMap((gate) => {
    const { message, word } = (gate ?? {}) as Readonly<Record<string, unknown>>
    return typeof word === 'string' && typeof message === 'string' ? [{ word, message }] : []
  })
}

/** With a capital and a full stop. */
export function sentence(message: string): string {
  const text = `${message.charAt(0).toUpperCase()}${message.slice(1)}`
  return /[.!?]$/.test(text) ? text : `${text}.`
}
