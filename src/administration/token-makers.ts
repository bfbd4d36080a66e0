/**
 * Who may have the text of a token: whoever made it, whoever rotated it, and, since tokens make and rotate tokens, the people behind those.
 *
 * It is written down when it happens, because a token is forgotten 90 days after its end and what it drafted is not. The two-person rule counts
 * all of them. What is not known is never taken for nobody: `unknownMaker` stands for it, and with it in the list nobody can be said to have
 * had no hand in what the token did.
 */

/** Somebody of whom nothing is known. No actor is called like this: theirs have a colon. */
export const unknownMaker = 'unknown'

/** More than these are not kept apart: the list then ends with `unknownMaker`. */
const mostMakers = 50

/** More generations between a token and a person than anybody needs; each is read whenever the token is shown. */
export const mostAncestors = 8

/** What a token's record says of where it comes from. The optional ones are left out by records of earlier versions, and where there is nothing to say. */
export interface TokenOrigin {
  readonly createdBy: string
  /** Whoever was behind `createdBy` when it was made, where that is a token. */
  readonly behind?: readonly string[] | undefined
  /** Whoever rotated it, and whoever was behind them. */
  readonly rotatedBy?: readonly string[] | undefined
  /** Ids; the nearest first. */
  readonly ancestors?: readonly string[] | undefined
  readonly rotated?: object | undefined
}

/** The id in `token:<id>`; `undefined` for any other actor. */
export function tokenIdOf(actor: string): string | undefined {
  return actor.startsWith('token:') ? actor.slice('token:'.length) : undefined
}

/** Everybody who may have its text. */
export function allOf({ behind, createdBy, rotated, rotatedBy }: TokenOrigin): readonly string[] {
  // Rotated before it was written down by whom.
  const rotators = rotatedBy ?? (rotated === undefined ? [] : [unknownMaker])
  // Made by a token before it was written down who was behind that one.
  const before = behind ?? (tokenIdOf(createdBy) === undefined ? [] : [unknownMaker])
  return bounded([createdBy, ...before, ...rotators])
}

/** Who rotated it, with these added. */
export function withMakers(origin: TokenOrigin, makers: readonly string[]): readonly string[] {
  const before = origin.rotatedBy ?? (origin.rotated === undefined ? [] : [unknownMaker])
  return bounded([...before, ...makers])
}

/** The tokens that it came of. */
export function descentOf({ ancestors, createdBy }: TokenOrigin): readonly string[] {
  const parent = tokenIdOf(createdBy)
  return ancestors ?? (parent === undefined ? [] : [parent])
}

function bounded(actors: readonly string[]): readonly string[] {
  const different = [...new Set(actors)]
  return different.length <= mostMakers ? different : [...different.slice(0, mostMakers - 1), unknownMaker]
}

/** Who may have the text of `token:<id>`, by the tokens that are there; a token that is forgotten was made by somebody unknown. */
export function createMakerFinder(tokens: {
  list(): AsyncIterable<{ readonly id: string; readonly makers: readonly string[] }>
}): (actor: string) => Promise<readonly string[]> {
  return async (actor) => {
    const wanted = tokenIdOf(actor)
    for await (const { id, makers } of tokens.list()) if (id === wanted) return makers
    return [unknownMaker]
  }
}
