// How a photo comes in: dropped, pasted, chosen, taken, or one of the examples. It goes to this server's memory only.
(() => {
  const LARGEST_MIB = 64;

  const dataUrl = file => new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });

  async function camera(dialog, accept) {
    const video = dialog.querySelector('video');
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' }, audio: false });
    video.srcObject = stream;
    dialog.onclose = () => stream.getTracks().forEach(track => track.stop());
    dialog.querySelector('.shutter').onclick = () => {
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      canvas.getContext('2d').drawImage(video, 0, 0);
      canvas.toBlob(blob => {
        dialog.close();
        if (blob) accept(new File([blob], 'camera.jpg', { type: 'image/jpeg' }));
      }, 'image/jpeg', 0.92);
    };
    dialog.showModal();
  }

  /** Brings the photo card to life; its value is JSON of what is shown. */
  gaea.photo = (element, props, trigger, watch) => {
    const card = element.querySelector('.photo-card'), find = name => card.querySelector(name);
    const [choose, capture] = [find('input.choose'), find('input.capture')];

    const state = (name, message = '') => {
      card.dataset.state = name;
      find('.fault').textContent = message;
      find('.fault').hidden = !message;
    };
    const send = async file => {
      if (!file) return;
      if (file.size > LARGEST_MIB * 2 ** 20) { state('empty', `${file.name}: larger than ${LARGEST_MIB} MiB; scale it down first`); return; }
      state('reading');
      try {
        trigger('photo', { name: file.name, data: await dataUrl(file) });
      } catch {
        state('empty', `${file.name}: this browser cannot read the file; choose it again`);
      }
    };
    const show = () => {
      const shown = JSON.parse(props.value || '{}');
      state(shown.src ? 'shown' : 'empty', shown.fault || '');
      find('.shown img').src = shown.src || 'data:,';
      find('.shown .name').textContent = shown.name || '';
      find('.shown .facts').textContent = shown.facts || '';
    };

    find('.browse').addEventListener('click', () => choose.click());
    find('.take').addEventListener('click', () => {
      const phone = matchMedia('(pointer: coarse)').matches;
      if (phone || !navigator.mediaDevices) capture.click();
      else camera(find('dialog'), send).catch(() => state(card.dataset.state, 'No camera can be used here; choose a file instead.'));
    });
    find('dialog .cancel').addEventListener('click', () => find('dialog').close());
    for (const input of [choose, capture]) {
      input.addEventListener('change', () => { send(input.files[0]); input.value = ''; });
    }
    find('.forget').addEventListener('click', () => trigger('forget', {}));
    for (const example of card.querySelectorAll('.example')) {
      example.addEventListener('click', () => { state('reading'); trigger('example', { number: Number(example.dataset.number) }); });
    }
    let depth = 0; // of elements that something is dragged over
    addEventListener('dragenter', () => { depth++; card.classList.add('over'); });
    addEventListener('dragleave', () => { depth = Math.max(0, depth - 1); if (!depth) card.classList.remove('over'); });
    addEventListener('dragover', event => event.preventDefault());
    addEventListener('drop', event => {
      event.preventDefault(); // wherever it falls, it never opens in place of this page
      depth = 0;
      card.classList.remove('over');
      send(event.dataTransfer.files[0]);
    });
    addEventListener('paste', event => {
      const file = [...(event.clipboardData?.files || [])].find(item => item.type.startsWith('image/'));
      if (file) { event.preventDefault(); send(file); }
    });
    watch('value', show);
    show();
    // A file may have been chosen before anybody listened.
    for (const input of [choose, capture]) {
      if (input.files[0]) { send(input.files[0]); input.value = ''; }
    }
    card.dataset.live = '';
  };

  /** Light or dark, kept for the next visit. */
  gaea.turnLights = () => {
    const dark = document.body.classList.toggle('dark');
    try { localStorage.setItem('gaea-theme', dark ? 'dark' : 'light'); } catch { /* a visit without storage */ }
  };
  gaea.lights = () => {
    let kept = null;
    try { kept = localStorage.getItem('gaea-theme'); } catch { /* a visit without storage */ }
    if (kept) document.body.classList.toggle('dark', kept === 'dark');
  };
})();
