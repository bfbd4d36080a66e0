// Presses the button of the sign-out page when a relying party asked for it with a valid ID Token.
document.querySelector('#sign-out[data-press]')?.click()
