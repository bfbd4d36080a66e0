/*
 * Comfort for people with script; every page works without it.
 * Copying details, finding an app by typing, and looking whether an app that was away is back.
 */

const one = (selector) => document.querySelector(selector)

/* Copy details: plain lines, ready for a mail or a ticket. */
const copyButton = one('[data-copy]')
if (copyButton && navigator.clipboard) {
  copyButton.hidden = false
  copyButton.addEventListener('click', async () => {
    const rows = [...document.querySelectorAll('[data-details] > div')]
    const text = rows.map((row) => `${row.querySelector('dt').textContent}: ${row.querySelector('dd').textContent}`).join('\n')
    const status = one('[data-copy-status]')
    try {
      await navigator.clipboard.writeText(text)
      status.textContent = 'Copied.'
    } catch {
      // The browser may refuse; the details are on the page and can be selected by hand.
      status.textContent = 'Could not copy. Please select the text above.'
    }
  })
}

/* Portal: filter by typing, `/` to begin, arrows to move, Enter to open the first match, Escape to start over. */
const search = one('[data-search]')
if (search) beginSearch(search, search.querySelector('input'), [...document.querySelectorAll('[data-search-text]')])

function beginSearch(form, input, cards) {
  const fold = (text) => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()
  const links = () => cards.filter((card) => !card.hidden).map((card) => card.querySelector('a'))
  /* Of many apps only a page is here: then the server searches, and a filter would say that there are none. */
  const isHere = form.dataset.search === 'here'
  form.querySelector('kbd').hidden = false

  function filter() {
    if (!isHere) return
    const words = fold(input.value).split(/\s+/).filter(Boolean)
    for (const card of cards) card.hidden = !words.every((word) => card.dataset.searchText.includes(word))
    const count = links().length
    one('[data-search-none]').hidden = count > 0
    one('[data-search-status]').textContent = words.length === 0 ? '' : count === 1 ? '1 app matches' : `${count} apps match`
  }

  function clear() {
    input.value = ''
    filter()
    input.focus()
  }

  input.addEventListener('input', filter)
  one('[data-search-none] a').addEventListener('click', (event) => {
    if (!isHere) return
    event.preventDefault()
    clear()
  })
  form.addEventListener('submit', (event) => {
    if (!isHere) return
    event.preventDefault()
    if (input.value.trim() !== '') links()[0]?.click()
  })
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return
    if (event.key === '/' && document.activeElement !== input) {
      event.preventDefault()
      input.select()
      input.focus()
    } else if (event.key === 'Escape' && (document.activeElement === input || links().includes(document.activeElement))) {
      clear()
    } else {
      moveByArrow(event, input, links())
    }
  })
  // Coming back by the back button, the browser may have kept what was typed.
  if (input.value !== '') filter()
}

function moveByArrow(event, input, links) {
  const at = links.indexOf(document.activeElement)
  let next
  if (document.activeElement === input) next = event.key === 'ArrowDown' ? links[0] : undefined
  else if (at < 0) return
  else if (event.key === 'ArrowRight') next = links[at + (getComputedStyle(input).direction === 'rtl' ? -1 : 1)]
  else if (event.key === 'ArrowLeft') next = links[at - (getComputedStyle(input).direction === 'rtl' ? -1 : 1)]
  else if (event.key === 'ArrowDown') next = rowBeside(links, at, 1)
  else if (event.key === 'ArrowUp') next = rowBeside(links, at, -1) ?? input
  if (next === undefined) return
  event.preventDefault()
  next.focus()
}

/* The nearest link in the next row (or the one before), whatever number of columns there is room for. */
function rowBeside(links, at, direction) {
  // Offsets, not bounding boxes: a card that is lifted by hovering has not left its row.
  const items = links.map((link) => link.closest('li'))
  const here = items[at]
  const rows = items.map((item, index) => ({
    index,
    down: (item.offsetTop - here.offsetTop) * direction,
    across: Math.abs(item.offsetLeft - here.offsetLeft),
  }))
  const best = rows.filter((row) => row.down > 0).sort((a, b) => a.down - b.down || a.across - b.across)[0]
  return best === undefined ? undefined : links[best.index]
}

/* An app or a service that is away: look again, ever less often, and only while someone is watching. */
const watch = one('[data-watch]')
if (watch) void watchForReturn(watch.dataset, one('[data-watch-text]'), one('[data-watch-status]'))

async function watchForReturn({ watch: path, watchFor, watchRemedies }, line, status) {
  const waitsForAccess = watchFor === 'allowed'
  const pausesInSeconds = [5, 10, 15, 30, 30, 60, 60, 60, 120, 120, 120, 120]
  watch.hidden = false
  status.textContent = waitsForAccess
    ? 'This page goes on by itself once you may open it.'
    : 'This page looks by itself whether it is back.'
  for (const pause of pausesInSeconds) {
    for (let left = pause; left > 0; left--) {
      line.textContent = `${waitsForAccess ? 'This page goes on by itself. Next look in ' : 'Looking again in '}${left} ${left === 1 ? 'second' : 'seconds'}.`
      await new Promise((resolve) => setTimeout(resolve, 1000))
      if (document.hidden) await new Promise((resolve) => document.addEventListener('visibilitychange', resolve, { once: true }))
    }
    line.textContent = 'Looking…'
    if (await isBack(path, waitsForAccess)) {
      line.textContent = status.textContent = waitsForAccess ? 'It is open. One moment…' : 'It is back. One moment…'
      location.replace(path)
      return
    }
    if (waitsForAccess && (await hasOtherRemedies(path, watchRemedies))) {
      // Not a reload: that would send a form again.
      location.replace(path)
      return
    }
  }
  watch.hidden = true
  status.textContent = `It is not ${waitsForAccess ? 'open' : 'back'} yet. Please try again later.`
}

/*
 * Back means: anything but one of our own "away" answers. Those carry `X-Postern`; an app's own errors do not. Whoever waits to be let in
 * also waits through our refusals; 401 ends the wait, because then signing in is what is left to do.
 */
async function isBack(path, waitsForAccess) {
  try {
    const answer = await fetch(path, { method: 'HEAD', cache: 'no-store', redirect: 'manual', signal: AbortSignal.timeout(10_000) })
    if (!answer.headers.has('x-postern')) return true
    return !(answer.status >= 500 || answer.status === 429 || (waitsForAccess && (answer.status === 403 || answer.status === 404)))
  } catch {
    // Not even we answered.
    return false
  }
}

/* Whether something else is in the way by now, such as the second of two things: then this page says what is no longer so. */
async function hasOtherRemedies(path, before) {
  try {
    const wish = { headers: { accept: 'application/json' }, cache: 'no-store', redirect: 'manual', signal: AbortSignal.timeout(10_000) }
    const answer = await fetch(path, wish)
    if (answer.status !== 403 || !answer.headers.has('x-postern')) return false
    const { unmet = [] } = await answer.json()
    return unmet.map(({ remedy }) => remedy).join(' ') !== before
  } catch {
    // Nothing was learned; the next look comes.
    return false
  }
}
