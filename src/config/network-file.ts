/**
 * `cidrs_file`: a text file with one network a line, such as a list that a provider publishes. `#` begins a comment.
 *
 * Read strictly: one line that is not a network refuses the whole policy, with file, line and column, since a list that was cut short
 * or read in another way opens or closes doors silently. An empty list is refused for the same reason.
 */

import type { Path, Problem, Report } from './problems.ts'
import { isRefusal, parseCidr } from './web-address.ts'
import { loadFile } from './yaml-source.ts'

const maxFileBytes = 2_000_000
/** Ten times the longest list that a large provider publishes. */
const maxNetworks = 60_000
/** Nobody mends more at once. */
const maxProblems = 20

/** The networks of `file` in order, each once; `undefined` where there is a problem, which is then in `report`. */
export async function loadNetworks(file: string, report: Report, path: Path): Promise<readonly string[] | undefined> {
  const bytes = await loadFile(file, maxFileBytes)
  if (typeof bytes === 'string') {
    report.problem(path, bytes, { expected: 'a text file with one network a line' })
    return undefined
  }
  const networks = new Set<string>()
  const problems: Problem[] = []
  for (const [index, line] of bytes
    .toString('utf8')
    .replace(/^\ufeff/, '')
    .split('\n')
    .entries()) {
    const text = line.replace(/#[\s\S]*/, '').trim()
    if (text === '') continue
    const cidr = parseCidr(text)
    if (typeof cidr === 'string') networks.add(cidr)
    else if (isRefusal(cidr)) {
      problems.push({
        file,
        line: index + 1,
        column: line.search(/\S/) + 1,
        path: '',
        message: cidr.refusal,
        ...(cidr.expected === undefined ? {} : { expected: cidr.expected }),
        ...(cidr.suggestion === undefined ? {} : { suggestion: cidr.suggestion }),
      })
      if (problems.length >= maxProblems) break
    }
    if (networks.size > maxNetworks) {
      problems.push({ file, line: index + 1, column: 1, path: '', message: `the file names more than ${maxNetworks} networks` })
      break
    }
  }
  if (problems.length === 0 && networks.size === 0)
    problems.push({ file, line: 1, column: 1, path: '', message: 'the file names no network' })
  if (problems.length === 0) return [...networks]
  report.problems.push(...problems)
  return undefined
}
