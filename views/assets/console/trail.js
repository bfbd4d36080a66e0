/*
 * Comfort of the trail's pages: following live, and watching something that takes long. Whatever comes from the server is put in as text, or as a
 * part of a page that the server rendered; an address is taken only if it leads into the console.
 */

const mostRows = 500

/* Following: new events come on top of the list. */
const button = document.querySelector('[data-trail-follow]')
const list = document.querySelector('[data-trail-list]')
const template = document.querySelector('[data-trail-template]')
if (button && list && template && typeof EventSource === 'function') {
  const body = list.querySelector('tbody')
  const told = document.querySelector('[data-trail-told]')
  let source
  let count = 0

  const named = (slot, link, className) => {
    if (!link) return
    const name = document.createElement('bdi')
    name.textContent = link.text
    if (typeof link.href !== 'string' || !link.href.startsWith('/console/')) {
      slot.append(name)
      return
    }
    const anchor = document.createElement('a')
    anchor.href = link.href
    if (className) anchor.className = className
    anchor.append(name)
    slot.append(anchor)
  }

  const add = (view) => {
    const row = template.content.querySelector('tr').cloneNode(true)
    row.dataset.key = view.key
    const slot = (name) => {
      const cell = row.querySelector(`[data-slot="${name}"]`)
      cell.replaceChildren()
      return cell
    }
    const time = document.createElement('time')
    time.dateTime = view.time?.iso ?? ''
    time.title = view.time?.iso ?? ''
    time.textContent = view.clock
    slot('time').append(time)
    named(slot('who'), view.who)
    named(slot('app'), view.app)
    named(slot('what'), { text: view.what, href: view.href }, view.isDecision ? 'mono' : '')
    if (view.badge) {
      const badge = document.createElement('span')
      badge.className = `badge ${view.badge.tone}`
      badge.textContent = view.badge.word
      slot('outcome').append(badge)
    }
    named(slot('reason'), view.reason && { text: view.reason })
    named(slot('device'), view.device)
    named(slot('address'), view.address && { text: view.address })
    row.classList.add('trail-new')
    body.prepend(row)
    while (body.rows.length > mostRows) body.lastElementChild.remove()
    list.hidden = false
    document.querySelector('[data-trail-empty]')?.remove()
    count += 1
    told.textContent = `${count} new ${count === 1 ? 'event' : 'events'}`
  }

  const stop = () => {
    source?.close()
    source = undefined
    button.setAttribute('aria-pressed', 'false')
    button.textContent = 'Follow live'
  }
  const follow = () => {
    count = 0
    source = new EventSource(button.dataset.trailFollow)
    source.addEventListener('message', (event) => add(JSON.parse(event.data)))
    source.addEventListener('error', () => {
      // The browser tries again by itself, unless it was refused.
      if (source?.readyState === EventSource.CLOSED) stop()
    })
    button.setAttribute('aria-pressed', 'true')
    button.textContent = 'Stop following'
  }
  button.hidden = false
  button.addEventListener('click', () => (source ? stop() : follow()))
}

/* Something that takes long: the part of the page is looked at again until it says that it is over. */
const watched = document.querySelector('[data-trail-refresh]')
if (watched) {
  const lookAgainMs = 1000
  const look = async () => {
    const answer = await fetch(watched.dataset.trailRefresh, { headers: { accept: 'text/html' } }).catch(() => undefined)
    if (answer?.ok !== true) return void setTimeout(look, 4 * lookAgainMs)
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html')
    const fresh = page.querySelector('[data-trail-refresh]')
    if (!fresh) return void location.replace(watched.dataset.trailRefresh)
    watched.replaceChildren(...fresh.childNodes)
    setTimeout(look, lookAgainMs)
  }
  setTimeout(look, lookAgainMs)
}
