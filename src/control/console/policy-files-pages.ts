/**
 * Handing out files: of what is in force, of a revision, of a draft; all together as one archive, or each by itself, byte for byte as they were
 * written.
 *
 * A file is looked up among those of the bundle and never opened by its name. It is always sent as a file to keep and never as a page: what somebody
 * wrote into a policy must not run on this host.
 */

import type { Bundle } from '../../administration/policy-bundle.ts'
import { isText } from '../../administration/policy-merge.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { writeArchive } from './policy-archive.ts'
import { draftHref, type PolicyPagesPorts, policyHref, revisionHref } from './policy-page-parts.ts'

/** Whose files, for the page and for the name of what is kept. */
interface FilesOf {
  readonly bundle: Bundle
  readonly title: string
  readonly name: string
  readonly href: string
}

/** Adds the pages of files. */
export function mountPolicyFilesPages(routes: ConsoleRoutes, { drafts, inForce, revisions }: PolicyPagesPorts): void {
  routes.get(`${policyHref}/files`, 'policy:read', async (request) => {
    const { bundle } = await inForce()
    return answer(request, { bundle, title: 'Policy', name: 'policy', href: policyHref })
  })

  routes.get(`${policyHref}/revisions/:number/files`, 'policy:read', async (request) => {
    const number = readNumber(request.params['number'])
    const revision = number === undefined ? undefined : await revisions?.load(number)
    if (revision === undefined) return { kind: 'not_found' }
    const title = `Revision ${revision.number}`
    return answer(request, { bundle: revision.bundle, title, name: `policy-${revision.number}`, href: revisionHref(revision.number) })
  })

  routes.get(`${policyHref}/drafts/:draft/files`, 'policy:read', async (request) => {
    const draft = await drafts.load(request.params['draft'] ?? '')
    if (draft === undefined) return { kind: 'not_found' }
    return answer(request, { bundle: draft.bundle, title: 'Draft', name: `policy-draft-${draft.id}`, href: draftHref(draft.id) })
  })

  function answer({ now, query }: ConsoleRequest, of: FilesOf): ConsoleAnswer {
    const path = query.get('file')
    if (path !== null) {
      const file = of.bundle.find((one) => one.path === path)
      if (file === undefined) return { kind: 'not_found' }
      const type = isText(file.content) ? 'text/plain; charset=utf-8' : 'application/octet-stream'
      return { kind: 'download', type, filename: file.path.split('/').at(-1) ?? 'file', body: file.content }
    }
    if (query.get('archive') !== null) {
      return { kind: 'download', type: 'application/x-tar', filename: `${of.name}.tar`, body: writeArchive(of.bundle, now) }
    }
    const here = `${of.href}/files`
    const content = {
      owner: of.title,
      href: of.href,
      archiveHref: `${here}?archive=1`,
      files: of.bundle.map((file) => ({
        path: file.path,
        bytes: file.content.length.toLocaleString('en-GB'),
        href: `${here}?file=${encodeURIComponent(file.path)}`,
      })),
    }
    return { kind: 'page', template: 'policy-files', title: `Files, ${of.title}`, section: 'policy', content }
  }
}

/** A number of an address, in one spelling. */
export function readNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^[1-9]\d{0,9}$/.test(text) ? Number(text) : undefined
}
