/*
 * Keeps the list of open connections fresh while it is looked at: numbers change in place, what is over goes, what is new comes on top.
 * Whatever comes is text; addresses were made by the server and lead nowhere but into the console.
 */

const rows = document.querySelector('[data-live]')
const template = document.querySelector('[data-live-template]')
if (rows && template && typeof EventSource === 'function') {
  const body = rows.querySelector('tbody')
  const show = (selector, isShown) => {
    for (const element of document.querySelectorAll(selector)) element.hidden = !isShown
  }

  const fill = (row, view) => {
    row.dataset.id = view.id
    for (const element of row.querySelectorAll('[data-field]')) {
      const text = String(view[element.dataset.field] ?? '')
      if (element.textContent !== text) element.textContent = text
    }
    for (const element of row.querySelectorAll('[data-href]')) {
      const path = view[element.dataset.href]
      if (typeof path === 'string' && path.startsWith('/console/')) element.setAttribute('href', path)
      else element.removeAttribute('href')
    }
    for (const element of row.querySelectorAll('[data-value]')) element.value = view[element.dataset.value]
    const time = row.querySelector('[data-time] time')
    if (time && view.since) {
      time.dateTime = view.since.iso
      time.title = view.since.iso
      time.textContent = view.since.text
    }
  }

  const update = ({ rows: views, silent, summary }) => {
    const known = new Map([...body.rows].map((row) => [row.dataset.id, row]))
    let before = null
    for (const view of [...views].reverse()) {
      const row = known.get(view.id) ?? template.content.querySelector('tr').cloneNode(true)
      known.delete(view.id)
      fill(row, view)
      // Moving a row takes the focus out of it.
      if (row.parentNode !== body || row.nextElementSibling !== before) body.insertBefore(row, before)
      before = row
    }
    for (const row of known.values()) row.remove()
    document.querySelector('[data-live-summary]').textContent = summary
    document.querySelector('[data-live-silent-names]').textContent = silent.join(', ')
    show('[data-live-silent]', silent.length > 0)
    show('[data-live-list]', views.length > 0)
    show('[data-live-empty]', views.length === 0)
  }

  let source
  const follow = () => {
    source?.close()
    source = undefined
    if (document.hidden) return
    source = new EventSource(rows.dataset.live)
    source.addEventListener('message', (event) => update(JSON.parse(event.data)))
  }
  document.addEventListener('visibilitychange', follow)
  follow()
}
