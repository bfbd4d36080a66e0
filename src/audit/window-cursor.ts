/**
 * Where a page of the recent window begins: behind which batch, behind which line, and which batches above have lines left.
 *
 * It goes to a browser and comes back by it, so that whatever is none begins at the beginning. It names places and holds nothing of a line but
 * its time and its number.
 */

export interface WindowCursor {
  /** Batches below this place were not looked at. */
  readonly before: string
  /** Sorts as the last line that was handed out: only what is below it comes next. */
  readonly key: string
  /** Batches at or above `before` of which lines are left. */
  readonly held: readonly string[]
}

/** As many as instances that write at the same time, mostly; each is a name in the cursor. */
export const mostHeld = 12

/** Room for the places that are held, in a query. */
const longestCursor = 2_048

/** As text for an address. */
export function formatWindowCursor(before: string | undefined, key: string | undefined, held: readonly string[] = []): string {
  return Buffer.from(JSON.stringify([before ?? null, key ?? null, ...held])).toString('base64url')
}

/** `undefined` for what is none. */
export function parseWindowCursor(text: string | undefined): WindowCursor | undefined {
  if (text === undefined || text.length > longestCursor) return undefined
  try {
    const read: unknown = JSON.parse(Buffer.from(text, 'base64url').toString())
    if (!Array.isArray(read) || read.length > mostHeld + 2 || !read.every(isPlace)) return undefined
    const [before, key, ...held] = read
    return before === undefined || key === undefined ? undefined : { before, key, held }
  } catch {
    // Cut, or made up.
    return undefined
  }
}

function isPlace(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 1_024
}
