/**
 * Regular expressions in expressions: `re(text, 'pattern')`, in the syntax of RE2, which has no look-around and no back-references.
 *
 * The one door to re2js. A pattern is a literal of the policy, compiled when that is loaded. Of the engine's strategies only the one that visits
 * each pair of instruction and character at most once is used: its automaton is quicker on most patterns, but takes milliseconds
 * and megabytes on some, and what a stranger sends as a path must not be able to choose.
 */

import { RE2JS } from 're2js'

/** A pattern, ready for use. */
export interface Pattern {
  /** Whether it matches anywhere in the text, as CEL's own `matches` would: `^` and `$` pin it down. */
  readonly matches: (text: string) => boolean
  /** The most work for each character of the text, in the steps of `maxWork`. */
  readonly stepsPerCharacter: number
}

/** Characters; a longer one is better written as several. */
const maxPatternLength = 256

/** Instructions. `x{200}` is two hundred of them. */
const maxPatternSize = 256

/** Compiles a pattern, or says in plain words why it cannot be used. */
export function compilePattern(source: string): Pattern | string {
  if (source.length > maxPatternLength) return `the pattern is longer than ${maxPatternLength} characters`
  let compiled: RE2JS
  try {
    compiled = RE2JS.compile(source)
  } catch (cause) {
    return `the pattern cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`
  }
  const instructions = compiled.programSize()
  if (instructions > maxPatternSize) return `the pattern takes ${instructions} instructions, and ${maxPatternSize} are the most`
  // A pattern that begins with ^ and never has two ways to go on is walked once, whatever its size; any other may try each of its
  // instructions at each character. Measured: 5 to 40 ns for each.
  const stepsPerCharacter = compiled.re2().onepass === null ? instructions / 2 : 3
  return { matches: (text) => compiled.matcher(text).find(), stepsPerCharacter }
}
