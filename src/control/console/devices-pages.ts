/**
 * `/console/devices`: the inventory, one device's page, and what is done there: registering, tagging, blocking, removing.
 *
 * Every page and every change is an operation of the API. Removing asks for the device's id to be typed: what was heard of it is gone with it.
 */

import type { DevicesOperations } from '../operations/devices.ts'
import type { CarryOut, Refused } from '../operations/operation.ts'
import type { ConsoleAnswer, ConsoleRequest, ConsoleRoutes } from './console-page.ts'
import { describeDevice, describeDevices, deviceHref } from './devices-content.ts'
import { describeList, hrefWith } from './people-content.ts'
import { closingWords, refusal } from './people-pages.ts'
import { type FormState, formStateOf } from './person-content.ts'

export interface DevicesPagesPorts {
  readonly devices: DevicesOperations
  readonly carryOut: CarryOut
}

const list = '/console/devices'
const pageLength = 50

/** Adds the pages. */
export function mountDevicesPages(routes: ConsoleRoutes, { carryOut, devices }: DevicesPagesPorts): void {
  routes.get(list, 'devices:read', (request) => showDevices(request))
  routes.get(`${list}/:id`, 'devices:read', (request) => showDevice(request))

  routes.post(list, 'devices:write', async (request, form) => {
    const text = (name: string) => (form.get(name) ?? '').trim() || undefined
    const outcome = await carryOut(
      devices.register,
      {
        id: text('id') ?? '',
        name: text('name'),
        owner: text('owner'),
        serial: text('serial'),
        tags: wordsIn(form.get('tags')),
        fingerprints: wordsIn(form.get('fingerprints')),
        names: wordsIn(form.get('names')),
        public_key: text('public_key'),
      },
      request.asker,
    )
    if (outcome.outcome === 'refused') return await showDevices(request, outcome, formStateOf(form, outcome))
    const { id, name } = outcome.value
    return { kind: 'redirect', to: deviceHref(id), notice: { tone: 'good', text: `${name} is registered. Rules know it from now on.` } }
  })

  routes.post(`${list}/:id/block`, 'devices:block', async (request, form) => {
    const id = request.params['id'] ?? ''
    const outcome = await carryOut(devices.block, { id, reason: form.get('reason') ?? '' }, request.asker)
    if (outcome.outcome === 'refused') return await showDevice(request, outcome, formStateOf(form, outcome))
    const closing = closingWords(outcome.value.connections)
    return said(id, `The device is blocked and every session on it has ended; ${closing}.`)
  })

  routes.post(`${list}/:id/unblock`, 'devices:block', async (request) => {
    const id = request.params['id'] ?? ''
    const outcome = await carryOut(devices.unblock, { id }, request.asker)
    return outcome.outcome === 'refused' ? refusal(outcome) : said(id, 'The device is let in again. Its people have to sign in anew.')
  })

  routes.post(`${list}/:id/tags`, 'devices:write', async (request, form) => {
    const id = request.params['id'] ?? ''
    const outcome = await carryOut(devices.tag, { id, tags: wordsIn(form.get('tags')) }, request.asker)
    if (outcome.outcome === 'refused')
      return await showDevice(request, outcome, { ...formStateOf(form, outcome), errors: { tags: outcome.message } })
    const { tags } = outcome.value
    return said(id, tags.length === 0 ? 'The device has no tags now.' : `The device has the tags ${tags.join(', ')} now.`)
  })

  routes.post(`${list}/:id/remove`, 'devices:write', async (request, form) => {
    const id = request.params['id'] ?? ''
    if ((form.get('typed') ?? '').trim() !== id) {
      const message = `Type ${id} to remove it.`
      const unconfirmed: Refused = { outcome: 'refused', problem: 'confirmation_needed', message }
      return await showDevice(request, unconfirmed, { values: {}, errors: { typed: message } })
    }
    const outcome = await carryOut(devices.remove, { id }, request.asker)
    if (outcome.outcome === 'refused') return refusal(outcome)
    return {
      kind: 'redirect',
      to: list,
      notice: { tone: 'good', text: `${id} is out of the inventory. Rules that ask for a known device refuse it.` },
    }
  })

  async function showDevices(request: ConsoleRequest, refused?: Refused, form?: FormState): Promise<ConsoleAnswer> {
    if (refused?.problem === 'not_permitted') return refusal(refused)
    const given = ['q', 'status', 'tag', 'stale', 'after'].map((name) => request.query.get(name)?.trim() || undefined)
    const [q, status, tag, stale, after] = given
    const filter = { q, status, tag, stale }
    const outcome = await carryOut(devices.list, { ...filter, after, limit: pageLength }, request.asker)
    if (outcome.outcome === 'refused') return refusal(outcome)
    const content = {
      filter: { q: q ?? '', status: status ?? '', tag: tag ?? '', isStale: stale === 'true' },
      isFiltered: [q, status, tag].some((one) => one !== undefined) || stale === 'true',
      tags: outcome.value.tags,
      rows: describeDevices(outcome.value.entries, request.now),
      list: describeList(outcome.value, {
        hrefOf: (next) => hrefWith(list, { ...filter, after: next }),
        path: after === undefined ? undefined : hrefWith(list, filter),
        now: request.now,
        unit: 'device',
      }),
      mayWrite: request.may('devices:write'),
      form: form ?? { values: {}, errors: {} },
      isFormOpen: form !== undefined,
    }
    return {
      kind: 'page',
      template: 'devices',
      title: 'Devices',
      section: 'devices',
      content,
      status: refused === undefined ? 200 : refused.problem === 'conflict' ? 409 : 400,
    }
  }

  async function showDevice(request: ConsoleRequest, refused?: Refused, form?: FormState): Promise<ConsoleAnswer> {
    if (refused?.problem === 'target_protected' || refused?.problem === 'not_permitted') return refusal(refused)
    const outcome = await carryOut(devices.get, { id: request.params['id'] ?? '' }, request.asker)
    // What has not the form of an id is in no inventory.
    if (outcome.outcome === 'refused') return outcome.problem === 'malformed' ? { kind: 'not_found' } : refusal(outcome)
    const content = describeDevice(outcome.value, { form, may: request.may, now: request.now })
    const status = refused === undefined ? 200 : refused.problem === 'confirmation_needed' ? 409 : 400
    return { kind: 'page', template: 'device', title: content.name, section: 'devices', content, status }
  }
}

function said(id: string, text: string): ConsoleAnswer {
  return { kind: 'redirect', to: deviceHref(id), notice: { tone: 'good', text } }
}

/** Words as somebody types them: apart by commas, spaces or lines. */
function wordsIn(text: string | null): readonly string[] {
  return (text ?? '').split(/[\s,]+/u).filter((word) => word !== '')
}
