/**
 * What the demo prints: where everything is, who may open what, and five minutes of things to try.
 *
 * Pure text from addresses, so that it can be read in a test as a newcomer reads it.
 */

import { join, relative } from 'node:path'
import type { RunningDemo } from './start-demo.ts'

/** The text to print once everything answers. `from` is the folder that paths are shown relative to. */
export function tellDemo(demo: Pick<RunningDemo, 'addresses' | 'folder'>, from: string): string {
  const { access, apps, issuer, operationsPort } = demo.addresses
  const audit = show(join(demo.folder, 'audit'), from)
  return `
  Postern is running. This is a demo: three people, no passwords, everything on this machine.

    Portal      ${access.origin}
    Console     ${access.origin}/console
    Wiki        ${apps.wiki.url}
    Live board  ${apps.board.url}
    Payroll     ${apps.payroll.url}

  Who may open what                          wiki          board    payroll                     console
    alice  engineering, postern-admins       write         yes      /admin/ only                admin
    bob    finance                           write         no       with a code, not /admin/    auditor
    carol  contractors                       read only     no       no                          helpdesk

  Five minutes
    1. Open ${apps.wiki.url} and sign in as Alice. Edit a page, upload a file.
    2. Open ${apps.board.url}: no second sign-in; chat and ticker are live.
    3. Open ${apps.payroll.url}: not allowed, and the page says why and whom to ask.
       ${apps.payroll.url}/admin/ is open to her, by another rule.
    4. Open ${access.origin}: the portal shows what she may open. Sign out there:
       wiki and board ask for a sign-in again.
    5. Sign in as Bob and open ${apps.payroll.url}: it wants a second factor,
       so he is asked for a code once, and is back where he wanted to go.
    6. Sign in as Carol: she reads the wiki, and saving a page is refused. On the portal she can ask for the board.
    7. Open ${access.origin}/console as Alice: what needs attention, and who was refused what.
       Apps, Live board, \`Change in a draft\`: let the group contractors in, try it, publish it.
       Reload the board as Carol. Then restore revision 1 under Policy.
    8. Open the console as Bob, who reads everything, and as Carol, who helps people who are stuck.
    9. Every decision is a line:  tail -f ${audit}/*/*.ndjson

  Sign-in service ${issuer.origin} · health and metrics http://127.0.0.1:${operationsPort}/metrics
  Safari, and other browsers that do not find these names: add two lines to /etc/hosts
    127.0.0.1 ${[access, issuer].map(({ hostname }) => hostname).join(' ')}
    127.0.0.1 ${Object.values(apps)
      .map(({ url }) => new URL(url).hostname)
      .join(' ')}

  Ctrl-C stops it all.
`
}

/** The shorter of the two ways to write a path: a path that climbs out of the folder is shown whole. */
function show(path: string, from: string): string {
  const short = relative(from, path)
  return short.startsWith('..') ? path : short
}
