"""The families, one file each. Importing them registers them."""

from genus.models.dequantised import Dequantised
from genus.models.gpt import GPT
from genus.models.made import MADE
from genus.models.maf import MAF
from genus.models.markov import MarkovChain
from genus.models.mixture import Mixture
from genus.models.naive_bayes import NaiveBayes
from genus.models.pixelcnn import PixelCNN
from genus.models.rnn import RNN
from genus.models.vae import VAE
from genus.models.wavenet import WaveNet
from genus.models.wgan_gp import WGANGP

__all__ = [
    "GPT",
    "MADE",
    "MAF",
    "RNN",
    "VAE",
    "WGANGP",
    "Dequantised",
    "MarkovChain",
    "Mixture",
    "NaiveBayes",
    "PixelCNN",
    "WaveNet",
]
