// The region explorer: which token a pixel belongs to, and the region, class and entropy of a token.
//
// An image has a grid of rows x columns tokens, a token has height x width sub-cells. `affinity` of a network
// holds bytes 0..255 in the order [token row][token column][sub-cell row][sub-cell column][neighbour].
for (const root of document.querySelectorAll("[data-explorer]")) {
  const images = JSON.parse(root.querySelector("script").textContent);
  const canvas = root.querySelector("canvas");
  const context = canvas.getContext("2d");
  const cells = [...root.querySelectorAll(".affinities span")];
  const value = (name) => root.querySelector(`[data-value="${name}"]`);
  const state = { image: null, network: null, picture: null, affinity: null, y: 0, x: 0, token: null, label: null };
  const loaded = new Map();

  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  async function chooseImage(index) {
    state.affinity = null; // nothing is shown until the image is decoded
    state.image = images[index];
    state.label ??= state.image.selected;
    const picture = new Image();
    picture.src = state.image.picture;
    await picture.decode();
    state.picture = picture;
    const scale = Math.max(1, Math.round(1200 / state.image.width));
    [canvas.width, canvas.height] = [state.image.width * scale, state.image.height * scale];
    [state.y, state.x] = [state.image.height >> 1, state.image.width >> 1];
    const fieldset = root.querySelector("[data-networks]");
    fieldset.querySelectorAll("label").forEach((label) => label.remove());
    for (const network of state.image.networks) {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "explorer-network" });
      input.checked = network.label === state.label;
      input.addEventListener("change", () => chooseNetwork(network));
      label.append(input, ` ${network.label}`);
      fieldset.append(label);
    }
    await chooseNetwork(state.image.networks.find((one) => one.label === state.label) ?? state.image.networks[0]);
  }

  async function chooseNetwork(network) {
    if (!loaded.has(network)) loaded.set(network, await unpack(network.affinity));
    state.network = network;
    state.label = network.label;
    state.affinity = loaded.get(network);
    state.token = null;
    show();
  }

  // Return the nine affinities of a sub-cell, 0..1, given by its row and column over the whole image.
  function affinities(row, column) {
    const [height, width] = state.network.region;
    const token = Math.floor(row / height) * state.image.columns + Math.floor(column / width);
    const cell = (row % height) * width + (column % width);
    const start = (token * height * width + cell) * 9;
    return Array.from(state.affinity.subarray(start, start + 9), (byte) => byte / 255);
  }

  function subCell(y, x) {
    const [height, width] = state.network.region;
    const row = Math.floor(((y + 0.5) * height) / state.image.patch);
    const column = Math.floor(((x + 0.5) * width) / state.image.patch);
    return [Math.min(row, state.image.rows * height - 1), Math.min(column, state.image.columns * width - 1)];
  }

  function show() {
    const { image, network, y, x } = state;
    const [height, width] = network.region;
    const [row, column] = subCell(y, x);
    const shares = affinities(row, column);
    const own = [Math.floor(row / height), Math.floor(column / width)];
    const place = (index) => [own[0] + Math.floor(index / 3) - 1, own[1] + (index % 3) - 1];
    const inside = ([r, c]) => r >= 0 && c >= 0 && r < image.rows && c < image.columns;
    const known = shares.map((share, index) => (inside(place(index)) ? share : -1)); // the image may be a crop
    const most = known.indexOf(Math.max(...known));
    const token = state.token ?? place(most);
    cells.forEach((cell, index) => {
      cell.textContent = (100 * shares[index]).toFixed(1);
      cell.style.setProperty("--share", `${100 * shares[index]}%`);
      cell.toggleAttribute("data-most", index === most);
      cell.toggleAttribute("data-low", shares[index] < 0.4);
    });
    const id = token[0] * image.columns + token[1];
    const name = image.classes[network.token_class[id]];
    const swatch = Object.assign(document.createElement("span"), { className: "swatch" });
    swatch.style.background = image.colours[network.token_class[id]];
    value("pixel").textContent = `row ${y}, column ${x}`;
    value("token").textContent = `row ${token[0]}, column ${token[1]}${state.token ? " (selected)" : ""}`;
    value("class").replaceChildren(swatch, name);
    value("entropy").textContent = `${network.token_entropy[id].toFixed(3)} nats`;
    root.querySelector("[data-what]").textContent =
      `Affinity of the pixel to the 3 x 3 tokens around its own cell, in percent. Sub-cells a token: ${height} x ${width}.`;
    draw(token, row, column);
  }

  function draw([tokenRow, tokenColumn], row, column) {
    const { image, network } = state;
    const [height, width] = network.region;
    const scale = canvas.width / image.width;
    const [cellHeight, cellWidth] = [(image.patch / height) * scale, (image.patch / width) * scale];
    context.imageSmoothingEnabled = false;
    context.drawImage(state.picture, 0, 0, canvas.width, canvas.height);
    context.fillStyle = "rgb(0 0 0 / 45%)";
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (let dy = -1; dy <= 1; dy++) {
      for (let dx = -1; dx <= 1; dx++) {
        const [r, c] = [tokenRow + dy, tokenColumn + dx];
        if (r < 0 || c < 0 || r >= image.rows || c >= image.columns) continue;
        for (let i = r * height; i < (r + 1) * height; i++) {
          for (let j = c * width; j < (c + 1) * width; j++) {
            const share = affinities(i, j)[(1 - dy) * 3 + 1 - dx]; // from this sub-cell to the token
            context.fillStyle = `rgb(255 190 30 / ${0.9 * share})`;
            context.fillRect(j * cellWidth, i * cellHeight, cellWidth, cellHeight);
          }
        }
      }
    }
    context.lineWidth = Math.max(2, scale / 3);
    context.strokeStyle = "#ffffff";
    const side = image.patch * scale;
    context.strokeRect(tokenColumn * side, tokenRow * side, side, side);
    context.strokeStyle = "#00d0ff";
    context.strokeRect(column * cellWidth, row * cellHeight, cellWidth, cellHeight);
  }

  function select() {
    const [height, width] = state.network.region;
    const [row, column] = subCell(state.y, state.x);
    state.token = [Math.floor(row / height), Math.floor(column / width)];
    show();
  }

  function at(event) {
    const box = canvas.getBoundingClientRect();
    const clamp = (position, size) => Math.max(0, Math.min(size - 1, Math.floor(position)));
    state.y = clamp(((event.clientY - box.top) / box.height) * state.image.height, state.image.height);
    state.x = clamp(((event.clientX - box.left) / box.width) * state.image.width, state.image.width);
  }

  const ready = (handler) => (event) => { if (state.affinity) handler(event); };
  canvas.addEventListener("pointermove", ready((event) => { at(event); show(); }));
  canvas.addEventListener("click", ready((event) => {
    at(event);
    const before = state.token?.join();
    select();
    if (before === state.token.join()) { state.token = null; show(); }
  }));
  canvas.addEventListener("keydown", ready((event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (event.key === "Enter" || event.key === " ") select();
    else if (event.key === "Escape") { state.token = null; show(); }
    else if (event.key in moves) {
      const { image, network } = state;
      const [down, right] = moves[event.key];
      const [height, width] = event.shiftKey ? [1, 1] : network.region;
      state.y = Math.max(0, Math.min(image.height - 1, state.y + down * Math.max(1, Math.floor(image.patch / height))));
      state.x = Math.max(0, Math.min(image.width - 1, state.x + right * Math.max(1, Math.floor(image.patch / width))));
      show();
    } else return;
    event.preventDefault();
    root.querySelector("#explorer-status").textContent =
      `Token ${value("token").textContent}: ${value("class").textContent}, ${value("entropy").textContent}`;
  }));
  for (const input of root.querySelectorAll('[name="explorer-image"]')) {
    input.addEventListener("change", () => chooseImage(Number(input.value)));
  }
  chooseImage(0);
}
